r"""The grammar of `where`, a condition on files that fits a URL, and its conversion to and from text.

    condition   = alternative { "|" alternative }            a file passes if one alternative applies
    alternative = [ "!" ] ( detection | fact )               "!" negates it
    detection   = [DETECTOR] ":" [LABEL] [">=" SCORE] ["<=" SCORE] ["~" WORDS]
    fact        = FIELD OPERATOR VALUE                       the fields are in FIELDS

A detection without a detector or label accepts any. The scores are those of one label's best detection in a file; with
words, those of a detection whose text contains them. In a label, and in a value or words, a backslash makes the next
character literal: `\|` and `\\`, in a label also `\<`, `\>` and `\~`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal, get_args

from cluster.records import Kind

Field = Literal["kind", "name", "under", "job", "error", "bytes", "width", "height", "duration", "scanned"]
Operator = Literal["=", "~", ">=", "<="]
Value = str | int | float | datetime

FIELDS: dict[Field, tuple[Operator, ...]] = {
    "kind": ("=",),
    "name": ("~",),  # the file's name contains it
    "under": ("=",),  # the URI begins with it
    "job": ("=",),  # the job has analysed it
    "error": ("~",),  # the reason of a failure contains it; nothing: any failure
    "bytes": (">=", "<="),
    "width": (">=", "<="),  # pixels
    "height": (">=", "<="),
    "duration": (">=", "<="),  # seconds
    "scanned": (">=", "<="),  # a date, or a time as ISO 8601, in UTC
}
MOST_CONDITIONS, MOST_ALTERNATIVES, MOST_CHARACTERS = 32, 32, 1000
MOST_TOGETHER = 64  # alternatives of all conditions of a query: each is a query of its own
MOST_SEARCHES = 8  # of these with words: each reads all texts
MOST_NUMBER = 1 << 53  # larger ones are not exact as numbers of JSON

_ALTERNATIVE = r"(?:\\.|[^\\|])+"
_CONDITION = re.compile(rf"{_ALTERNATIVE}(?:\|{_ALTERNATIVE})*", re.DOTALL)
_SCORE = r"(\d(?:\.\d*)?|\.\d+)"
_DETECTION = re.compile(rf"(!?)([^!:<>=~|\\]*):((?:\\.|[^\\<>~])*)(?:>={_SCORE})?(?:<={_SCORE})?(?:~(.+))?", re.DOTALL)
_FACT = re.compile(r"(!?)([a-z]+)(>=|<=|=|~)(.*)", re.DOTALL)
_HOW = "a condition is DETECTOR:LABEL, with >=SCORE, <=SCORE or ~WORDS behind it, or FIELD OPERATOR VALUE"


@dataclass(frozen=True, slots=True)
class Detected:
    """A file has a detection. An empty detector or label accepts any.

    `least`, `most`: of the score, 0 to 1. `words`: that its text contains, in lower case, with single spaces.
    """

    detector: str = ""
    label: str = ""
    least: float | None = None
    most: float | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A property of a file compares so with a value."""

    field: Field
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Alternative:
    """What applies to a file or, negated, does not apply to it."""

    of: Detected | Fact
    negated: bool = False


Condition = tuple[Alternative, ...]


def parse(text: str) -> Condition:
    """The alternatives of a condition. ValueError, which says how conditions are written, if it is none."""
    if not _CONDITION.fullmatch(text):
        raise ValueError(f"{text!r} has an empty alternative or ends with a backslash: {_HOW}")
    alternatives = tuple(_alternative(part) for part in re.findall(_ALTERNATIVE, text, re.DOTALL))
    if len(alternatives) > MOST_ALTERNATIVES:
        raise ValueError(f"a condition has at most {MOST_ALTERNATIVES} alternatives")
    return alternatives


def affordable(texts: Sequence[str]) -> bool:
    """Whether a query may have all these conditions: MOST_TOGETHER alternatives, MOST_SEARCHES of them with words."""
    each = [alternative.of for text in texts for alternative in parse(text)]
    searches = sum(isinstance(of, Detected) and of.words is not None for of in each)
    return len(each) <= MOST_TOGETHER and searches <= MOST_SEARCHES


def write(condition: Sequence[Alternative]) -> str:
    """The text of a condition, from which `parse` makes an equal one."""
    return "|".join(f"{'!' * each.negated}{_written(each.of)}" for each in condition)


def detected(text: str) -> Detected:
    """The detection that DETECTOR:LABEL names; either part may be empty. ValueError if it is another text."""
    condition = parse(text)
    of = condition[0].of
    if condition != (Alternative(of),) or not isinstance(of, Detected) or of != Detected(of.detector, of.label):
        raise ValueError(f"{text!r} is not DETECTOR:LABEL, DETECTOR: or :LABEL")
    return of


def _alternative(text: str) -> Alternative:
    if found := _DETECTION.fullmatch(text):
        bang, detector, label, least, most, words = found.groups()
        words = None if words is None else " ".join(_literal(words).lower().split())
        if words == "":
            raise ValueError(f"{text!r} has no words after ~")
        scores = [None if score is None else float(score) for score in (least, most)]
        if any(score is not None and score > 1 for score in scores):
            raise ValueError(f"{text!r}: a score is a number from 0 to 1")
        return Alternative(Detected(detector, _literal(label), scores[0], scores[1], words), bool(bang))
    found = _FACT.fullmatch(text)
    field = next((name for name in FIELDS if found and name == found[2]), None)
    if found is None or field is None:
        raise ValueError(f"{text!r} is no condition: {_HOW}; the fields are {', '.join(FIELDS)}")
    operator = next((one for one in FIELDS[field] if one == found[3]), None)
    if operator is None:
        raise ValueError(f"{text!r}: {field} goes with {' and '.join(FIELDS[field])}")
    return Alternative(Fact(field, operator, _value(field, operator, _literal(found[4]), text)), bool(found[1]))


def _value(field: Field, operator: Operator, value: str, text: str) -> Value:
    if field == "kind":
        if value not in get_args(Kind):
            raise ValueError(f"{text!r}: a kind is one of {', '.join(get_args(Kind))}")
        return value
    if field == "scanned":
        return _time(value, end=operator == "<=", text=text)
    if field in ("bytes", "width", "height", "duration"):
        if not re.fullmatch(r"\d{1,16}(\.\d{1,9})?" if field == "duration" else r"\d{1,16}", value):
            raise ValueError(f"{text!r}: {field} is compared with a number")
        number = float(value) if field == "duration" else int(value)
        if number > MOST_NUMBER:
            raise ValueError(f"{text!r}: the number is at most {MOST_NUMBER}")
        return number
    if not value and field != "error":
        raise ValueError(f"{text!r} has no value")
    return value


def _time(value: str, end: bool, text: str) -> datetime:
    """A date or time as a time in UTC without a zone; of a date its begin, or its last microsecond."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return datetime.combine(date.fromisoformat(value), time.max if end else time.min)
        when = datetime.fromisoformat(value)
        return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r}: a time is written as 2026-01-31 or 2026-01-31T12:00:00Z") from None


def _written(of: Detected | Fact) -> str:
    if isinstance(of, Fact):
        value = _time_text(of.value, of.operator) if isinstance(of.value, datetime) else _number(of.value)
        return f"{of.field}{of.operator}{_escaped(value, '|')}"
    text = f"{of.detector}:{_escaped(of.label, '|<>~')}"
    text += "" if of.least is None else f">={_number(of.least)}"
    text += "" if of.most is None else f"<={_number(of.most)}"
    return text + ("" if of.words is None else f"~{_escaped(of.words, '|')}")


def _time_text(when: datetime, operator: Operator) -> str:
    if when.time() == (time.max if operator == "<=" else time.min):
        return when.date().isoformat()
    return f"{when.isoformat()}Z"


def _number(value: Value) -> str:
    """A number without an exponent; another value as text."""
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _escaped(text: str, special: str) -> str:
    return re.sub(rf"([\\{re.escape(special)}])", r"\\\1", text)


def _literal(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
