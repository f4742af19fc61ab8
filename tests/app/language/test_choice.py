"""Which language a browser gets, and that two browsers of one server each have their own."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.language.choice import COOKIE, LanguageCookie, chosen, current
from app.language.texts import _
from tests.support.pages import Visit, words

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}


@pytest.mark.parametrize(
    ("named", "cookies", "accepted", "expected"),
    [
        ("de", {COOKIE: "en"}, "en", "de"),
        ("", {COOKIE: "de"}, "en-US,en;q=0.9", "de"),
        ("xx", {COOKIE: "<b>"}, "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", {}, "fr,de;q=0.3,en;q=0.7", "en"),
        ("", {}, "fr;q=0.9,de;q=0.1,en;q=0", "de"),
        ("", {}, "fr, *;q=x", "en"),
        ("", {}, "", "en"),
    ],
)
def test_the_address_decides_then_the_cookie_then_what_the_browser_asks_for(named, cookies, accepted, expected):
    assert chosen(named, cookies, accepted) == expected


async def said(_request: object) -> PlainTextResponse:
    before = _("Cases")
    await asyncio.sleep(0)  # others are answered meanwhile
    return PlainTextResponse(f"{before} {_('Cases')} {current()}")


@pytest.fixture
def client() -> TestClient:
    return TestClient(LanguageCookie(Starlette(routes=[Route("/", said)])))


def test_each_request_is_answered_in_its_language(client: TestClient):
    assert client.get("/", headers=GERMAN).text == "Fälle Fälle de"
    assert client.get("/").text == "Cases Cases en"
    assert current() == "en"


def test_a_browser_keeps_the_language_that_an_address_has_named(client: TestClient):
    assert client.get("/?lang=de").text == "Fälle Fälle de"
    assert client.get("/").text == "Fälle Fälle de"
    assert client.get("/?lang=en", headers=GERMAN).text == "Cases Cases en"
    assert client.get("/?lang=xx", headers=GERMAN).text == "Cases Cases en"


def test_a_page_has_a_link_to_itself_in_the_other_language(visit: Visit):
    assert '<a href="/cases?case=films&amp;lang=de" target="_self">Deutsch</a>' in words(visit("cases", case="films"))
    assert '<a href="/?kind=video&amp;kind=audio&amp;lang=en" target="_self">English</a>' in words(
        visit(kind=["video", "audio"], lang="de")
    )


def test_two_people_see_their_own_language_at_the_same_time(visit: Visit):
    german, english = visit("cases", lang="de"), visit("cases")
    assert "#### Fälle" in words(german.run()) and "#### Cases" in words(english.run())
