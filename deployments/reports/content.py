"""What a report says, as texts that both formats write. A report is a head, its files part by part, and an end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Pair = tuple[str, str]  # what is meant, and its value
Row = tuple[str, ...]

_JOINERS = "\u200c\u200d"  # in words of some scripts, and in emoji


@dataclass(frozen=True, slots=True)
class Head:
    """The begin of a report: of what, when and by whom it was made, and how many files there are."""

    title: str
    made_at: str
    facts: tuple[Pair, ...]
    selection: tuple[str, ...]  # the filters in words, each of which applies; none: all files
    counts: tuple[Pair, ...]
    failures: tuple[Row, ...]  # step, reason, number
    left_out: tuple[Row, ...]  # reason, number
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectorFindings:
    """What one model found in a file. `note`: that not all of it is listed."""

    detector: str
    model: str
    rows: tuple[Row, ...]  # label, score, time, text
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a report. `picture`: a JPEG; None: it has none, or none is wanted."""

    number: int
    name: str
    facts: tuple[Pair, ...]
    bytes_say: str  # whether its bytes are those that were analysed
    sound: bool  # they are, as far as it was checked
    findings: tuple[DetectorFindings, ...]
    errors: tuple[str, ...]
    decision: str
    history: tuple[Row, ...]  # when, who, decision, tags, note; the oldest first
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class Method:
    """A model that answered, and how right evaluations found it to be."""

    detector: str
    model: str
    facts: tuple[Pair, ...]
    measures: tuple[Row, ...]  # label, threshold, files, measures, when and with which labels; none: not measured


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a report: files whose bytes are not those of the analysis, methods, and the chain of custody."""

    files: int  # that the report describes
    unsound: tuple[Row, ...]  # number, file, what is wrong
    methods: tuple[Method, ...]
    entries: tuple[Row, ...]  # number of the line in the audit log, when, who, what, about what
    log: tuple[Pair, ...]  # the state of the audit log
    notes: tuple[str, ...]


class Writer(Protocol):
    """Writes one report: the head, then files in parts, then the tail. It holds one part in memory."""

    def begin(self, head: Head) -> None:
        """Write the head; once, first."""

    def add(self, entries: Sequence[Entry]) -> None:
        """Write these files."""

    def end(self, tail: Tail) -> None:
        """Write the end; nothing may follow."""


def visible(value: Any) -> Any:
    """The text with every character that is not seen, or reorders others, as its code, such as \\u202e.

    Line breaks stay. Values that are no text are returned unchanged.
    """
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(sign if sign.isprintable() or sign == "\n" or sign in _JOINERS else code(sign) for sign in value)


def code(sign: str) -> str:
    """The character as its code, such as \\u202e."""
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def moment(iso: str) -> str:
    """A time of the API, such as 2026-01-31T12:00:00.000Z, as 2026-01-31 12:00:00 UTC."""
    return f"{iso[:10]} {iso[11:19]} UTC"
