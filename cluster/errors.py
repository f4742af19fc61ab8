"""Errors caused by a file or by the operator. Other exceptions are bugs or failures of the cluster."""

from collections.abc import Iterator
from contextlib import contextmanager


class MediaError(Exception):
    """Caused by the file: it is empty, broken, too large or of another type. It gets a row with the reason."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str]]:
        return MediaError, (self.step, self.reason)


class SettingsError(Exception):
    """Caused by the operator: the message names the key, URI or name and says what to do."""


class NothingThere(SettingsError):
    """A place that the operator named does not exist. It could be checked, so a retry does not help."""


class DiskFull(OSError):
    """A file system of one machine is full: the message names the folder and the machine."""


@contextmanager
def library_errors(too_large: str) -> Iterator[None]:
    """Turn every exception of the block, calls of a library that reads a file, into a MediaError: the file is at fault.

    `too_large`: the reason after a MemoryError. The block holds no code of this project, whose bugs must not look like
    broken files.
    """
    try:
        yield
    except MediaError:
        raise
    except MemoryError:
        raise MediaError("decode", too_large) from None
    except Exception as error:  # libraries leak ValueError, struct.error, KeyError, PermissionError and others
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(
            "decode", f"it is damaged or not what it says it is ({' '.join(reason.split())[:160]})"
        ) from error
