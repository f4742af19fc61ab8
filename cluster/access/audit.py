"""The audit log: state_dir/audit.jsonl, one line a record, each with the hash of the line before it.

The chain shows a line that was changed, removed or moved. The last line's number and hash are also in audit.last, which
shows lines that were cut off at the end. Whoever can write both files can make a new chain: export the log, or note the
hash of its last line, to a place that they cannot write.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from cluster.access.identity import Identity
from cluster.access.private_files import replace_private
from cluster.records import iso_time

Record = dict[str, Any]

FIRST = "0" * 64  # the `previous` of the first line
NOBODY = Identity("", "viewer", ())  # who is not signed in
_TAIL_BYTES = 1 << 18  # more than any line has
MOST_CHARACTERS, _MOST_VALUES = 1000, 10  # of a value that a request names; a character takes up to 4 bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a verification: the number of lines, the hash of the last one, and the first fault, if any."""

    lines: int
    last: str
    fault: str | None


class Recorder(Protocol):
    """What appends a record: `Audit.record`, or a function that does nothing."""

    def __call__(self, who: Identity, what: str, of: str = "", where: str = "", **more: Any) -> None:
        """As `Audit.record`."""


def unrecorded(who: Identity, what: str, of: str = "", where: str = "", **more: Any) -> None:
    """Append nothing: of what is no act of a person, such as reading a folder of results for an export."""


class Audit:
    """The log of one state folder. Several processes may append: a lock on the file orders their lines."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "audit.jsonl"
        self._last = state_dir / "audit.last"

    def record(self, who: Identity, what: str, of: str = "", where: str = "", **more: Any) -> None:
        """Append a line, on disk when this returns: who did `what` to what, from which address."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        values = {"who": who.name, "subject": who.subject, "role": who.role, "key": who.id, "what": what, "of": of}
        values |= {"from": where, **more}
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number, previous = _end(file)
            record = {"n": number + 1, "at": iso_time(time.time())}
            record |= {key: _short(value) for key, value in values.items() if value}
            record |= {"previous": previous}
            record["hash"] = _hash(record)
            self._append(file, _line(record))
            self._note_end(record)

    def _append(self, file: FileIO, line: bytes) -> None:
        """Append a line, on disk when this returns. A full disk leaves no part of it, which would be a fault."""
        size, left = file.seek(0, os.SEEK_END), memoryview(line)
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise

    def records(self) -> Iterator[Record]:
        """The records, oldest first. json.JSONDecodeError for a line that is none."""
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                yield from map(json.loads, file)

    def end(self) -> tuple[int, bytes]:
        """The size of the log in bytes and the content of audit.last, of the same moment: no line is being written."""
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return file.seek(0, os.SEEK_END), self._last.read_bytes() if self._last.exists() else b""

    def verify(self) -> Checked:
        """Read the whole log and compare every line with the one before it."""
        noted, last = self._noted()  # first: a line may be appended while the log is read
        number, previous, at_noted = 0, FIRST, FIRST
        try:
            for line in self._whole_lines():
                record = json.loads(line)
                fault = _fault(record, number, previous, line)
                if fault:
                    return Checked(number, previous, fault)
                number, previous = number + 1, record["hash"]
                at_noted = previous if number == noted else at_noted
        except (ValueError, RecursionError):  # of ValueErrors, what is no JSON and no UTF-8
            return Checked(number, previous, f"line {number + 1} is no record")
        if noted > number:
            return Checked(number, previous, f"{noted - number} lines at the end are missing")
        if noted and last != at_noted:
            return Checked(number, previous, f"line {noted} is not the one that was written last")
        return Checked(number, previous, None)

    def _whole_lines(self) -> Iterator[bytes]:
        """The lines, as far as the log went when it was asked for, with none that is being written."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            size = file.seek(0, os.SEEK_END)
            fcntl.flock(file, fcntl.LOCK_UN)
            file.seek(0)
            while file.tell() < size:
                yield file.readline()

    def _note_end(self, record: Record) -> None:
        # under the log's lock, so one process at a time; a note that is lost is no fault
        replace_private(self._last, f"{record['n']} {record['hash']}".encode(), durable=False)

    def _noted(self) -> tuple[int, str]:
        """Number and hash of the line that was written last; 0 if the note is lost, which alone is no fault."""
        try:
            number, last = self._last.read_text().split()
            return int(number), last
        except (OSError, ValueError):
            return 0, ""


def _fault(record: Any, number: int, previous: str, line: bytes) -> str | None:
    """What is wrong with a record and its line, after `number` others, of which the last has the hash `previous`."""
    if not isinstance(record, dict) or record.get("n") != number + 1:
        return f"line {number + 1} is missing or out of order"
    # the line itself too: {"who": "Eve", "who": "Ann"} is the same record as {"who": "Ann"}
    if record.get("hash") != _hash(record) or line != _line(record):
        return f"line {number + 1} was changed"
    if record.get("previous") != previous:
        return f"line {number + 1} does not follow the line before it"
    return None


def _line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _hash(record: Record) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _end(file: FileIO) -> tuple[int, str]:
    """Number and hash of the last line. A line that a crash has cut short is completed by a line break, as a fault."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return 0, FIRST
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    if not tail.endswith(b"\n"):
        file.write(b"\n")
    for line in reversed(tail.splitlines()):
        try:
            record = json.loads(line)
            return int(record["n"]), str(record["hash"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0, FIRST


def _short(value: Any) -> Any:
    """A value of a record: texts and lists that a request names are cut, so that a line stays below _TAIL_BYTES."""
    if isinstance(value, str):
        return value[:MOST_CHARACTERS]
    if not isinstance(value, (list, tuple)):
        return value
    more = [f"and {len(value) - _MOST_VALUES} more"] if len(value) > _MOST_VALUES else []
    return [*map(_short, value[:_MOST_VALUES]), *more]
