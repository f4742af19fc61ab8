"""Conditions on files and sizes in words, in the reader's language."""

from app.language.formats import day, number
from app.language.texts import _
from cluster.filters import wording

_READER = wording.Language(_, number, day)


def size(of: int | None) -> str:
    """A number of bytes with its unit: 183.2 kB or 183,2 kB; empty for None."""
    return wording.format_bytes(of, _READER)


def alternatives(condition: str) -> list[str]:
    """The alternatives of a condition of `where`, each in a few words."""
    return wording.alternatives(condition, _READER)


def label(detector: str, label: str) -> str:
    """The name of a label with that of its detector, unless they are equal; empty ones are any."""
    return wording.label(detector, label, language=_READER)
