"""A private network: a kernel that forbids it leaves the process as it was. That it hides a port: test_guard.py."""

import subprocess
import sys

# in a process of its own: that of the tests has threads, and could not leave the network
PROGRAM = """
import errno, os, socket
from cluster.chroma_guard import network

def refuse(*arguments):
    raise PermissionError(errno.EPERM, "forbidden")

network.fcntl.ioctl = refuse
before = os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/user")
try:
    network.enter_private_network()
except OSError as error:
    print(error.errno == errno.EPERM)
print((os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/user")) == before)
"""


def test_a_step_that_is_forbidden_after_the_first_leaves_the_process_where_it_is():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
