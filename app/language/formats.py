"""Numbers, sizes, days and times as the reader's language writes them.

English days are written as ISO 8601 has them: 03/04/2025 is another day in London than in New York.
"""

from datetime import date, datetime
from functools import cache
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_percent

from app.language.choice import Language, current

_DAYS: dict[Language, str] = {"en": "yyyy-MM-dd", "de": "dd.MM.yyyy"}
_MONTHS: dict[Language, str] = {"en": "yyyy-MM", "de": "MM.yyyy"}


def number(value: float, digits: int = 0) -> str:
    """A number with so many digits after the decimal separator, and separators of thousands: 1,234.5 or 1.234,5."""
    written = f"{value:,.{digits}f}"  # Babel takes ten times as long, and a film has thousands of scores
    return written if current() == "en" else written.translate(_separators(current()))


@cache
def _separators(language: Language) -> dict[int, str]:
    """The separators of a language, by those of Python."""
    symbols = Locale(language).number_symbols["latn"]
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"]})


def percent(share: float) -> str:
    """A share as a whole percentage: 45% or 45 %."""
    return format_percent(share, locale=current())


def day(of: date) -> str:
    """A day: 2025-12-31 or 31.12.2025."""
    return format_date(of, _DAYS[current()], current())


def month(of: date) -> str:
    """A month of a year: 2025-12 or 12.2025."""
    return format_date(of, _MONTHS[current()], current())


def moment(text: str, seconds: bool = False) -> str:
    """A time in ISO 8601 without its zone: 2025-12-31 14:30 or 31.12.2025 14:30; empty for none."""
    if not text:
        return ""
    at = datetime.fromisoformat(text)
    return format_datetime(
        at.replace(tzinfo=None), f"{_DAYS[current()]} HH:mm{':ss' if seconds else ''}", locale=current()
    )


def date_input() -> Literal["YYYY-MM-DD", "DD.MM.YYYY"]:
    """The format in which Streamlit's field for a day shows one."""
    return "DD.MM.YYYY" if current() == "de" else "YYYY-MM-DD"


def chart_locale() -> dict[str, str | list[int] | list[str]]:
    """How a chart writes numbers: the definition of a locale of d3-format."""
    symbols = Locale(current()).number_symbols["latn"]
    return {"decimal": symbols["decimal"], "thousands": symbols["group"], "grouping": [3], "currency": ["", ""]}
