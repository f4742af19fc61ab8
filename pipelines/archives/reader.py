"""What all readers of containers have in common: their entries, and the protocol of a reader."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from cluster import errors
from cluster.errors import MediaError
from cluster.records import Kind

TOO_LARGE = "unpacking it takes more memory than there is"
ENCRYPTED = "it is encrypted, and its password is not known here"
PIECE_BYTES = 1 << 20

Alive = Callable[[], None]  # called while a long step goes on


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in a container, as the container's own index describes it."""

    n: int  # from 0, in the order of the container
    name: str  # path with "/"
    size: int  # bytes once unpacked; 0 if only its extraction tells
    packed: int | None = None  # bytes that it takes in the container; None: the container says it only for all together
    crc: str = ""  # a checksum of its content, where the container has one
    problem: str | None = None  # why it cannot be unpacked
    kind: Kind | None = None  # of what the reader itself makes, such as a page's picture; None: its bytes tell


@dataclass(frozen=True, slots=True)
class Text:
    """A text that stands in a container itself."""

    text: str
    origin: str  # where: "subject", "word/document.xml"
    page: int | None = None  # from 1


class Reader(Protocol):
    """An open container.

    `sequential`: to unpack an entry costs as much as to unpack all entries before it, so they are unpacked together.
    """

    sequential: bool

    def entries(self) -> Iterator[Entry]:
        """The files in it, in order. MediaError when the rest cannot be read; before it come those that can."""

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry. With a sequential reader, of the entry that `entries` has just yielded."""

    def texts(self) -> Iterator[Text]:
        """Texts that the container itself has."""

    def close(self) -> None:
        """Close the file."""


def library_errors() -> AbstractContextManager[None]:
    """`errors.library_errors` for calls of a library that reads containers."""
    return errors.library_errors(TOO_LARGE)


def copied(source: BinaryIO, to: BinaryIO | None, most: int, alive: Alive) -> int:
    """Copy a content that a library unpacks, to nowhere if `to` is None; returns its bytes. MediaError after `most`."""
    taken = 0
    while True:
        with library_errors():
            piece = source.read(PIECE_BYTES)
        if not piece:
            return taken
        taken += len(piece)
        if taken > most:
            raise MediaError("decode", bomb(most))
        if to is not None:
            to.write(piece)
        alive()


def bomb(most: int) -> str:
    """The reason why a member with more than `most` bytes is not unpacked."""
    return f"it unpacks to more than {most:,} bytes, which its stored size does not justify or the limit forbids"
