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
from pathlib import Path
from typing import IO, Any

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
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number, previous = _end(file)
            record = {"n": number + 1, "at": iso_time(time.time())}
            record |= {key: _short(value) for key, value in values.items() if value}
            record |= {"previous": previous}
            record["hash"] = _hash(record)
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._note_end(record)

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
            for record in self._whole_records():
                fault = _fault(record, number, previous)
                if fault:
                    return Checked(number, previous, fault)
                number, previous = number + 1, record["hash"]
                at_noted = previous if number == noted else at_noted
        except (json.JSONDecodeError, UnicodeDecodeError):
            return Checked(number, previous, f"line {number + 1} is no record")
        if noted > number:
            return Checked(number, previous, f"{noted - number} lines at the end are missing")
        if noted and last != at_noted:
            return Checked(number, previous, f"line {noted} is not the one that was written last")
        return Checked(number, previous, None)

    def _whole_records(self) -> Iterator[Record]:
        """As `records`, as far as the log went when it was asked for, with no line that is being written."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            size = file.seek(0, os.SEEK_END)
            fcntl.flock(file, fcntl.LOCK_UN)
            file.seek(0)
            while file.tell() < size:
                yield json.loads(file.readline())

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


def _fault(record: Any, number: int, previous: str) -> str | None:
    """What is wrong with a record after `number` others, of which the last has the hash `previous`."""
    if not isinstance(record, dict) or record.get("n") != number + 1:
        return f"line {number + 1} is missing or out of order"
    if record.get("hash") != _hash(record):
        return f"line {number + 1} was changed"
    if record.get("previous") != previous:
        return f"line {number + 1} does not follow the line before it"
    return None


def _hash(record: Record) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _end(file: IO[bytes]) -> tuple[int, str]:
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
    return [_short(item) for item in value[:_MOST_VALUES]] if isinstance(value, (list, tuple)) else value
