"""Conditions on files, numbers, sizes and times in words, as the app and reports show them. Pure functions."""

from collections.abc import Callable
from datetime import datetime, time

from cluster.filters.conditions import Alternative, Detected, Fact, Field, parse


def clock(seconds: float | None) -> str:
    """Format seconds as 0:07, 12:40 or 1:02:03; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_bytes(size: int | None) -> str:
    """Format a number of bytes with a decimal unit, such as 183.2 kB; empty for None."""
    if size is None:
        return ""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as 1 file or 1,200 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_TEXTS: dict[Field, str] = {
    "kind": "kind is {}",
    "name": "name contains “{}”",
    "under": "under {}",
    "job": "job {}",
    "error": "failed with “{}”",
}
_UNITS: dict[Field, Callable[[int], str]] = {
    "bytes": format_bytes,
    "width": lambda pixels: f"{pixels} px",
    "height": lambda pixels: f"{pixels} px",
}
_NAMES: dict[Field, str] = {"bytes": "size", "duration": "length"}


def alternatives(condition: str) -> list[str]:
    """The alternatives of a condition of `where`, each in a few words."""
    return [_alternative(each) for each in parse(condition)]


def label(detector: str, label: str) -> str:
    """The name of a label with that of its detector, unless they are equal; empty ones are any."""
    if not label:
        return f"anything by {detector}" if detector else "anything"
    return f"{label} by {detector}" if detector not in ("", label) else label


def _alternative(alternative: Alternative) -> str:
    of = alternative.of
    text = _detected(of) if isinstance(of, Detected) else _fact(of)
    return f"not: {text}" if alternative.negated else text


def _detected(of: Detected) -> str:
    what = label(of.detector, of.label)
    if of.words is not None:
        where = f"in {what}" if of.label else f"by {of.detector}" if of.detector else "in a text or speech"
        what = f"“{of.words}” {where}"
    scores = {
        (True, True): lambda: f", score {of.least:.2f} to {of.most:.2f}",
        (True, False): lambda: f", score from {of.least:.2f}",
        (False, True): lambda: f", score up to {of.most:.2f}",
        (False, False): lambda: "",
    }
    return what + scores[of.least is not None, of.most is not None]()


def _fact(of: Fact) -> str:
    if of.field in _TEXTS:
        return "failed" if of == Fact("error", "~", "") else _TEXTS[of.field].format(of.value)
    bound = "from" if of.operator == ">=" else "up to"
    return f"{_NAMES.get(of.field, of.field)} {bound} {_amount(of)}"


def _amount(of: Fact) -> str:
    if isinstance(of.value, datetime):
        day = of.value.time() in (time.min, time.max)
        return of.value.date().isoformat() if day else f"{of.value:%Y-%m-%d %H:%M} UTC"
    if isinstance(of.value, float):
        return f"{of.value:g} s"
    return _UNITS[of.field](int(of.value))
