"""Conditions on files in words, as the Browse page shows them. Pure functions."""

from collections.abc import Callable
from datetime import datetime, time

from app import draw
from cluster.filters.conditions import Alternative, Detected, Fact, Field, parse

_TEXTS: dict[Field, str] = {
    "kind": "kind is {}",
    "name": "name contains “{}”",
    "under": "under {}",
    "job": "job {}",
    "error": "failed with “{}”",
}
_UNITS: dict[Field, Callable[[int], str]] = {
    "bytes": draw.format_bytes,
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
