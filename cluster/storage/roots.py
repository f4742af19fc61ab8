"""Which folders and buckets may be read or written: checks of URIs and of opened local files."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote

from cluster.errors import MediaError, SettingsError
from cluster.storage.filesystems import local_path, normalize, split

KERNELS = ("/proc", "/sys")  # their files are views of the kernel, whatever type stat reports


DECODINGS = 4  # of a key, one after the other; a key that is encoded more often is refused


class OutsideRoots(SettingsError):
    """A place that may not be read or written: it is under none of the allowed folders and buckets."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders, files and prefixes of buckets, with everything under them. Without any, nothing is allowed."""

    uris: tuple[str, ...]

    def allow(self, uri: str) -> bool:
        """Whether a URI is under a root, after links and `..` are resolved. SettingsError if it is not a valid URI."""
        scheme, rest = split(uri)
        if scheme == "file":
            return self.allow_path(_resolved(local_path(uri)))
        if _climbs(rest):
            return False
        return any(_under(f"{scheme}://{rest}", root) for root in map(normalize, self.uris))

    def check(self, uri: str) -> None:
        """Raise OutsideRoots if a URI is under no root; the message says how to extend the setting."""
        if not self.allow(uri):
            raise OutsideRoots(refusal(uri, "read", "roots", self.uris))

    def allow_path(self, resolved: str) -> bool:
        """Whether an absolute local path, with all links resolved, is under a root."""
        roots = [local_path(root) for root in self.uris if split(root)[0] == "file"]
        return any(_under(resolved, _resolved(root)) for root in roots)


def _climbs(key: str) -> bool:
    """Whether a server could resolve the key of an object to another: "case-1/../case-2", in any percent-encoding.

    In S3 such keys are plain names. A store that keeps its objects in folders, or a proxy, may resolve them.
    """
    for _ in range(DECODINGS):
        key = unquote(key)
    return unquote(key) != key or any(part in (".", "..") for part in re.split(r"[/\\]", key))


def refusal(uri: str, what: str, key: str, allowed: Sequence[str]) -> str:
    """The message of OutsideRoots: the URI may not be `what` (read or written), and how to extend scanning.`key`."""
    there = f"it lies under none of them ({', '.join(allowed)})" if allowed else "there are none yet"
    return (
        f"{uri} may not be {what}: scanning.{key} names the folders and buckets that may be, and {there}. Add its "
        f"folder to `scanning: {{{key}: [/data/media, s3://bucket/cases]}}` in settings.yaml, or to "
        f"RAYSIFT_SCANNING__{key.upper()} in the environment, as a JSON list, and start Raysift again. Or run "
        "`raysift scan` on the cluster's own machine, as the user who started it: that needs no setting."
    )


def open_local(uri: str, roots: Roots | None) -> BinaryIO:
    """Open a regular file for reading. MediaError if it is not one or, with links resolved, under none of the roots.

    The file is first opened as a reference (O_PATH), which neither blocks on a FIFO nor activates a device. The check
    and the read use this same reference, so replacing the file by a link in between has no effect.
    `roots` None: no check, for files that the operator named.
    """
    handle = os.open(local_path(uri), os.O_PATH | os.O_CLOEXEC)
    try:
        if reason := not_a_file(os.fstat(handle).st_mode):
            raise MediaError("fetch", f"{uri} is {reason}, not a file")
        resolved = os.readlink(f"/proc/self/fd/{handle}")
        if of_the_kernel(resolved):
            raise MediaError("fetch", f"{uri} is a view of the system's kernel, not a file")
        if roots is not None and not roots.allow_path(resolved):
            raise MediaError("fetch", f"{uri} leads outside the folders that may be read (scanning.roots)")
        return open(f"/proc/self/fd/{handle}", "rb")
    finally:
        os.close(handle)


def not_a_file(mode: int) -> str | None:
    """The type of a file by its st_mode, in words; None for a regular file."""
    kinds = {
        stat.S_IFREG: None,
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "of an unknown type")


def of_the_kernel(resolved: str) -> bool:
    """Whether a path without links is in a file system of the kernel, such as /proc."""
    return any(_under(resolved, folder) for folder in KERNELS)


def _resolved(path: str) -> str:
    return "/" + os.path.realpath(path).lstrip("/")


def _under(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
