"""The boundary to decoding libraries: whatever they raise becomes a MediaError, and each return is reported."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cluster.errors import MediaError, library_errors
from pipelines.media.sources import Embedded, EmbeddedFile, RemoteFile, Source

TOO_LARGE = "decoding it takes more memory than there is"
_listeners: list[Callable[[], None]] = []


def on_progress(listener: Callable[[], None]) -> None:
    """Call `listener` from now on whenever a decoding library returns or a range of a remote file arrives.

    A decoder that reports progress has not stalled, however long one frame takes it. Threads report it, too.
    """
    _listeners.append(listener)


@contextmanager
def decoding_errors() -> Iterator[None]:
    """`library_errors` for calls of a decoding library; then progress is reported."""
    try:
        with library_errors(TOO_LARGE):
            yield
    finally:
        report_progress()


@contextmanager
def readable(source: Source) -> Iterator[Path | io.RawIOBase]:
    """Yield what a decoding library can open: the path of a local file, a file object of a remote or embedded one.

    When a remote file could not be fetched, the MediaError of the fetch replaces that of the decoder.
    """
    if isinstance(source, Embedded):
        with byte_file(source.within) as file:
            yield EmbeddedFile(file, source.begin, source.size)
        return
    if isinstance(source, Path):
        yield source
        return
    with RemoteFile(source, report_progress) as file:
        try:
            yield file
        except MediaError as error:
            raise file.error or error from None
        if file.error:
            raise file.error


@contextmanager
def byte_file(source: Source) -> Iterator[BinaryIO | io.RawIOBase]:
    """Yield a file object of the source's bytes. FileNotFoundError and PermissionError of a local file are raised."""
    with readable(source) as file:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                yield opened
        else:
            yield file


def report_progress() -> None:
    """Tell the listeners that a library goes on."""
    for listener in _listeners:
        listener()
