"""Temporary folders, and errors that say which file system is full."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from cluster.errors import DiskFull

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" while files are written to a folder into DiskFull, which names folder and machine."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFull(
            f"no space is left in {folder} on the machine {socket.gethostname()}: free some there"
        ) from error


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new temporary folder, deleted at the end of the block. DiskFull if there is no space for it."""
    with naming_full_disk(Path(gettempdir())):
        folder = TemporaryDirectory(prefix=prefix)
    with folder as name:
        yield Path(name)
