"""A network of its own for this process and its children: a port that listens in it is reached by nobody else."""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1

ADVICE = (
    "Allow user namespaces without privileges, on Ubuntu with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, "
    "elsewhere with `sysctl user.max_user_namespaces=10000`, and restart Raysift; or use a machine without other users."
)


def enter_private_network() -> None:
    """Move this process, and the children that it starts from now on, to a new network that has only a loopback device.

    Sockets that were opened before stay in the network in which they were opened. The new network belongs to a new
    user namespace, so this needs no privilege: only this user and root can enter it. Users and files are unchanged.

    Call it before the process starts a thread. OSError if the kernel, a security module or a container forbids it; the
    process then stays where it is.
    """
    # AppArmor of Ubuntu allows the first step and forbids the next ones, and there is no way back: a child tries first
    child = os.fork()
    if child == 0:
        _exit_with_errno_of(_enter)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))
    _enter()


def _exit_with_errno_of(function: Callable[[], None]) -> NoReturn:
    number = errno.EPERM
    try:
        function()
        number = 0
    except OSError as error:
        number = error.errno or number
    finally:
        os._exit(number)


def _enter() -> None:
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")  # the kernel's condition for a map of groups without privileges
    (own / "uid_map").write_text(f"{user} {user} 1")
    (own / "gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
