"""What a decoder process does with a container: it lists its members, unpacks them, and reads its texts."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from cluster.errors import MediaError
from cluster.records import Kind
from cluster.storage.disks import FULL
from pipelines.archives import names
from pipelines.archives.formats import HEAD_BYTES, container_format
from pipelines.archives.limits import Limits
from pipelines.archives.mails import Mail, Mailbox
from pipelines.archives.microsoft.outlook import OutlookFolders, ole_file
from pipelines.archives.pdfs import Pdf
from pipelines.archives.rars import Rar
from pipelines.archives.reader import Alive, Entry, Reader, Text, bomb, copied, library_errors
from pipelines.archives.sevenzip import SevenZip
from pipelines.archives.tars import COMPRESSIONS, Tar
from pipelines.archives.zips import Zip

PASSAGE = 2000  # characters of one finding: as much as a reader takes in at a glance
MOST_TEXT = 5_000_000  # characters of one container

# the kind of a member by its first bytes: "container" for a container, None for what is neither that nor media
KindOf = Callable[[bytes], Kind | None]


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a container that is media or a container itself, or that cannot be unpacked."""

    n: int  # its number in the container
    name: str  # path with "/", different from that of every other member
    size: int  # bytes once unpacked; 0: unknown
    crc: str
    kind: Kind | None  # by its first bytes; None if there is a problem
    problem: str | None = None  # why nothing in it was looked at


@dataclass(frozen=True, slots=True)
class Others:
    """The members that are no media, counted by suffix; the last answer of `members`."""

    counts: dict[str, int]


def reader(path: Path, limits: Limits, alive: Alive, heads_only: bool = False) -> Reader:
    """Open a container. MediaError if it is none, is encrypted or broken, or cannot be read on this machine.

    `heads_only`: of each entry only the first HEAD_BYTES are needed.
    """
    with path.open("rb") as file:
        name = container_format(file.read(HEAD_BYTES))
    if name == "zip":
        return Zip(path)
    if name in COMPRESSIONS:
        return Tar(path, name, limits, alive)
    if name == "7z":
        return SevenZip(path, limits, alive, HEAD_BYTES if heads_only else None)
    if name == "rar":
        return Rar(path)
    if name == "pdf":
        return Pdf(path, limits)
    if name in ("eml", "emlx"):
        return Mail(path)
    if name == "mbox":
        return Mailbox(path, alive)
    if name == "ole":
        return ole_file(path)
    if name == "pst":
        return OutlookFolders(path, alive)
    raise MediaError("decode", "its bytes are those of no archive, document or mail that is read here")


def members(path: Path, kind_of: KindOf, limits: Limits, alive: Alive) -> Iterator[Member | Others]:
    """The members of a container, then Others. MediaError, after all that could be read, if the rest cannot."""
    unique, others, total, file_bytes = names.Unique(), Counter[str](), 0, path.stat().st_size
    failure: MediaError | None = None
    with closing(reader(path, limits, alive, heads_only=True)) as container:
        try:
            for count, entry in enumerate(container.entries()):
                alive()
                if count >= limits.members:
                    raise MediaError(
                        "decode", f"it has more than {limits.members:,} members; the rest was not looked at"
                    )
                name = names.clean(entry.name)
                most = limits.most_bytes(_packed(entry, file_bytes))
                problem = entry.problem or (bomb(most) if entry.size > most else None)
                total += entry.size
                if problem is None and total > limits.total_bytes:
                    problem = f"with it, its container unpacks to more than the limit of {limits.total_bytes:,} bytes"
                kind = entry.kind
                if problem is None and kind is None:
                    try:
                        kind = kind_of(_head(container, entry))
                    except MediaError as error:
                        problem = error.reason
                if kind is None and problem is None:
                    others[PurePosixPath(name).suffix.lower()] += 1
                else:
                    yield Member(entry.n, unique(name), entry.size, entry.crc, kind, problem)
        except MediaError as error:
            failure = error
    yield Others(dict(others))
    if failure:
        raise failure


def extract(
    path: Path, wanted: list[int], folder: Path, kind_of: KindOf, limits: Limits, alive: Alive
) -> Iterator[tuple[int, str | None]]:
    """Unpack members by number, each into the file of its number in a folder: (number, None or why it failed).

    From a container that can only be read from its beginning, all members that are media are unpacked.
    """
    file_bytes = path.stat().st_size
    with closing(reader(path, limits, alive)) as container:
        for entry in container.entries():
            alive()
            if not container.sequential and entry.n not in wanted:
                continue
            if entry.problem:
                continue
            to, most = folder / str(entry.n), limits.most_bytes(_packed(entry, file_bytes))
            try:
                if _unpack(container, entry, to, entry.n in wanted, kind_of, most, alive):
                    yield entry.n, None
            except MediaError as error:
                if error.step == "fetch":  # this machine is at fault
                    raise
                yield entry.n, error.reason


def texts(path: Path, limits: Limits, alive: Alive) -> Iterator[Text]:
    """Texts that a container itself has, in passages of PASSAGE characters at most. MediaError after MOST_TEXT."""
    taken = 0
    with closing(reader(path, limits, alive)) as container:
        for text in container.texts():
            alive()
            for passage in _passages(text.text):
                taken += len(passage)
                if taken > MOST_TEXT:
                    raise MediaError("decode", f"its text has more than {MOST_TEXT:,} characters; the rest is not kept")
                yield replace(text, text=passage)


def _passages(text: str) -> Iterator[str]:
    """Parts of a text that end at an empty line, at a line, or after PASSAGE characters."""
    rest = text.strip()
    while len(rest) > PASSAGE:
        end = max(rest.rfind("\n\n", 0, PASSAGE), rest.rfind("\n", PASSAGE // 2, PASSAGE))
        end = end if end > 0 else max(rest.rfind(" ", PASSAGE // 2, PASSAGE), 0) or PASSAGE
        yield rest[:end].strip()
        rest = rest[end:].strip()
    if rest:
        yield rest


def _packed(entry: Entry, file_bytes: int) -> int:
    """The bytes that an entry takes in its container, or at most: not what a forged index says."""
    return file_bytes if entry.packed is None else min(entry.packed, file_bytes)


def _head(container: Reader, entry: Entry) -> bytes:
    with container.open(entry) as content, library_errors():
        return _first(content)


def _first(content: BinaryIO) -> bytes:
    """The first HEAD_BYTES of a content; fewer if it has fewer."""
    head = b""
    while len(head) < HEAD_BYTES and (piece := content.read(HEAD_BYTES - len(head))):
        head += piece
    return head


def _unpack(container: Reader, entry: Entry, to: Path, wanted: bool, kind_of: KindOf, most: int, alive: Alive) -> bool:
    """Write an entry of `most` bytes at most, if it is wanted or is media; returns whether it was."""
    part = to.with_suffix(".part")  # of a process that is killed, no half of a member is left under its number
    try:
        with container.open(entry) as content, part.open("wb") as file:
            with library_errors():
                head = _first(content)
            if not wanted and kind_of(head) is None:
                return False
            file.write(head)
            copied(content, file, most - len(head), alive)
        part.rename(to)
        return True
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise MediaError("fetch", f"no space is left to unpack it in {to.parent}") from None
    finally:
        part.unlink(missing_ok=True)
