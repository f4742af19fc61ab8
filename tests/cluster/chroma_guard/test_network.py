"""A private network: what listens in it is not reached from outside, and a kernel that forbids it changes nothing."""

import subprocess
import sys

# the test's process has threads, which a process that changes its network must not have
PROGRAM = """
import errno, os, socket, sys
from cluster.chroma_guard import network
before = os.readlink("/proc/self/ns/net")
listener = socket.create_server(("127.0.0.1", 0))
{change}
try:
    network.enter_private_network()
except OSError as error:
    print(error.errno == errno.EPERM, os.readlink("/proc/self/ns/net") == before)
else:
    print(os.getuid(), os.readlink("/proc/self/ns/net") != before)
"""


def output(change):
    command = [sys.executable, "-c", PROGRAM.format(change=change)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_step_that_is_forbidden_after_the_first_leaves_the_process_where_it_is():
    forbid = "def refuse(*arguments): raise PermissionError(errno.EPERM, 'forbidden')\nnetwork.fcntl.ioctl = refuse"
    assert output(forbid) == ["True", "True"]
