"""Numbers, sizes, days and conditions as each language writes them."""

from collections.abc import Callable
from contextvars import copy_context
from datetime import date

import pytest
from starlette.testclient import TestClient

from app.language import formats, wording
from app.language.choice import LanguageCookie
from app.language.texts import _, counted


def in_language(language: str, write: Callable[[], str]) -> str:
    """What is written while a request in this language is answered."""
    written = []

    async def answer(scope, receive, send):
        written.append(write())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    copy_context().run(TestClient(LanguageCookie(answer)).get, f"/?lang={language}")
    return written[0]


@pytest.mark.parametrize(
    ("write", "english", "german"),
    [
        (lambda: formats.number(1234567), "1,234,567", "1.234.567"),
        (lambda: formats.number(1234.5, 2), "1,234.50", "1.234,50"),
        (lambda: formats.percent(0.254), "25%", "25\N{NO-BREAK SPACE}%"),
        (lambda: formats.day(date(2026, 3, 4)), "2026-03-04", "04.03.2026"),
        (lambda: formats.month(date(2026, 3, 4)), "2026-03", "03.2026"),
        (lambda: formats.moment("2026-03-04T15:06:07.89+00:00"), "2026-03-04 15:06", "04.03.2026 15:06"),
        (lambda: formats.moment("2026-03-04T15:06:07Z", seconds=True), "2026-03-04 15:06:07", "04.03.2026 15:06:07"),
        (lambda: formats.moment(""), "", ""),
        (lambda: wording.size(1_234_567), "1.2 MB", "1,2 MB"),
        (lambda: wording.size(12), "12 bytes", "12 Byte"),
        (lambda: counted("{n} file", "{n} files", 1), "1 file", "1 Datei"),
        (lambda: counted("{n} file", "{n} files", 1200), "1,200 files", "1.200 Dateien"),
        (lambda: _("no such text {n}", n="{x}"), "no such text {x}", "no such text {x}"),
        (lambda: wording.label("clip", "beach"), "beach by clip", "beach von clip"),
        (
            lambda: " / ".join(wording.alternatives("face:face>=0.5<=0.75|!name~a|scanned>=2026-11-23")),
            "face, score 0.50 to 0.75 / not: name contains “a” / scanned from 2026-11-23",
            "face, Score 0,50 bis 0,75 / nicht: Name enthält „a“ / gescannt ab 23.11.2026",
        ),
        (
            lambda: " / ".join(wording.alternatives("kind=video|width<=4000|duration<=1.5|:~total")),
            "kind is video / width up to 4,000 px / length up to 1.5 s / “total” in a text or speech",
            "Art ist Video / Breite bis 4.000 px / Länge bis 1,5 s / „total“ in Text oder Sprache",
        ),
    ],
)
def test_each_language_writes_it_in_its_way(write: Callable[[], str], english: str, german: str):
    assert in_language("en", write) == english
    assert in_language("de", write) == german
