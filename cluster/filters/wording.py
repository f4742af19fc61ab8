"""Conditions on files, numbers, sizes and times in words, as the app and reports show them. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time

from cluster.filters.conditions import Alternative, Detected, Fact, Field, parse


@dataclass(frozen=True, slots=True)
class Language:
    """How to write texts, numbers and days. The app has one for its reader; reports are in English."""

    translate: Callable[[str], str]  # an English text, with its {names}
    number: Callable[[float, int], str]  # with so many digits after the decimal separator
    day: Callable[[date], str]


ENGLISH = Language(str, lambda value, digits: f"{value:,.{digits}f}", date.isoformat)


def clock(seconds: float | None) -> str:
    """Format seconds as 0:07, 12:40 or 1:02:03; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_bytes(size: int | None, language: Language = ENGLISH) -> str:
    """Format a number of bytes with a decimal unit, such as 183.2 kB; empty for None."""
    if size is None:
        return ""
    if size < 1000:
        return language.translate("{} bytes").format(size)
    amount = size / 1000
    for unit in ("kB", "MB", "GB"):
        if amount < 1000:
            return f"{language.number(amount, 1)} {unit}"
        amount /= 1000
    return f"{language.number(amount, 1)} TB"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as 1 file or 1,200 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def alternatives(condition: str, language: Language = ENGLISH) -> list[str]:
    """The alternatives of a condition of `where`, each in a few words."""
    return [_alternative(each, language) for each in parse(condition)]


def label(detector: str, label: str, *, language: Language = ENGLISH) -> str:
    """The name of a label with that of its detector, unless they are equal; empty ones are any."""
    translate = language.translate
    if not label:
        return translate("anything by {}").format(detector) if detector else translate("anything")
    if detector in ("", label):
        return label
    return translate("{label} by {detector}").format(label=label, detector=detector)


def _alternative(alternative: Alternative, language: Language) -> str:
    of = alternative.of
    text = _detected(of, language) if isinstance(of, Detected) else _fact(of, language)
    return language.translate("not: {}").format(text) if alternative.negated else text


def _detected(of: Detected, language: Language) -> str:
    translate, what = language.translate, label(of.detector, of.label, language=language)
    if of.words is not None and of.label:
        what = translate("“{words}” in {label}").format(words=of.words, label=what)
    elif of.words is not None and of.detector:
        what = translate("“{words}” by {detector}").format(words=of.words, detector=of.detector)
    elif of.words is not None:
        what = translate("“{}” in a text or speech").format(of.words)
    least, most = ("" if score is None else language.number(score, 2) for score in (of.least, of.most))
    if least and most:
        return translate("{what}, score {least} to {most}").format(what=what, least=least, most=most)
    if least:
        return translate("{what}, score from {least}").format(what=what, least=least)
    return translate("{what}, score up to {most}").format(what=what, most=most) if most else what


def _fact(of: Fact, language: Language) -> str:
    translate = language.translate
    texts: dict[Field, str] = {
        "kind": translate("kind is {}"),
        "name": translate("name contains “{}”"),
        "under": translate("under {}"),
        "job": translate("job {}"),
        "error": translate("failed with “{}”"),
    }
    if of == Fact("error", "~", ""):
        return translate("failed")
    if of.field in texts:
        return texts[of.field].format(
            translate(of.value) if isinstance(of.value, str) and of.field == "kind" else of.value
        )
    bounds: dict[Field, tuple[str, str]] = {
        "bytes": (translate("size from {}"), translate("size up to {}")),
        "width": (translate("width from {}"), translate("width up to {}")),
        "height": (translate("height from {}"), translate("height up to {}")),
        "duration": (translate("length from {}"), translate("length up to {}")),
        "scanned": (translate("scanned from {}"), translate("scanned up to {}")),
    }
    least, most = bounds[of.field]
    return (least if of.operator == ">=" else most).format(_amount(of, language))


def _amount(of: Fact, language: Language) -> str:
    if isinstance(of.value, datetime):
        day = language.day(of.value.date())
        return day if of.value.time() in (time.min, time.max) else f"{day} {of.value:%H:%M} UTC"
    if isinstance(of.value, float):
        return f"{language.number(of.value, len(f'{of.value:.6g}'.partition('.')[2]))} s"
    return format_bytes(int(of.value), language) if of.field == "bytes" else f"{language.number(int(of.value), 0)} px"
