"""The page that asks for the purpose, its cookie, and the header that the API gets."""

from functools import partial
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.proxy import Relay
from app.purpose import COOKIE, Purpose, PurposeGuard
from app.sign_in import COOKIE as SESSION
from cluster.access import tokens
from tests.support.fakes.sessions import TOKEN

HTML = {"Accept": "text/html"}
PURPOSE = "Fall 7: Straße"


def browser(required: bool = True, asked: list[httpx.Request] | None = None) -> TestClient:
    """A browser that is signed in, in front of a page and the proxy."""
    answer = httpx.Response(404)
    transport = httpx.MockTransport(lambda request: ([] if asked is None else asked).append(request) or answer)
    api = partial(httpx.AsyncClient, transport=transport, base_url="http://api")
    routes = [Route("/", lambda _: PlainTextResponse("page")), *Purpose().routes, *Relay(api).routes]
    app = PurposeGuard(Starlette(routes=routes), lambda: required)
    return TestClient(app, base_url="http://app", cookies={SESSION: TOKEN}, follow_redirects=False)


def test_a_page_asks_for_the_purpose_once_a_session():
    client = browser()
    asked = client.get("/?label=face", headers=HTML)
    assert (asked.status_code, asked.headers["location"]) == (303, f"/purpose?next={quote('/?label=face')}")
    shown = client.get(asked.headers["location"])
    assert 'value="/?label=face"' in shown.text and "form-action 'self'" in shown.headers["content-security-policy"]
    given = client.post("/purpose", data={"purpose": f" {PURPOSE}\n", "next": "/?label=face"})
    assert (given.status_code, given.headers["location"]) == (303, "/?label=face")
    assert "httponly" in given.headers["set-cookie"].lower() and "samesite=lax" in given.headers["set-cookie"].lower()
    assert client.get("/?label=face", headers=HTML).text == "page"
    assert f'value="{PURPOSE}"' in client.get("/purpose").text


def test_who_signs_in_later_is_asked_again():
    client = browser()
    client.post("/purpose", data={"purpose": PURPOSE})
    later = TestClient(client.app, base_url="http://app", follow_redirects=False)
    later.cookies.set(COOKIE, client.cookies[COOKIE])
    later.cookies.set(SESSION, str(tokens.new()))
    assert later.get("/", headers=HTML).status_code == 303
    assert PURPOSE not in later.get("/purpose").text


def test_nobody_is_asked_where_no_purpose_is_demanded():
    assert browser(required=False).get("/", headers=HTML).text == "page"


@pytest.mark.parametrize("headers", [{}, {"Accept": "image/*"}])
def test_what_is_no_page_is_not_redirected(headers: dict[str, str]):
    assert browser().get("/", headers=headers).text == "page"


def test_an_empty_purpose_and_one_of_another_site_are_not_kept():
    client = browser()
    assert client.post("/purpose", data={"purpose": " "}).headers["location"].startswith("/purpose")
    refused = client.post("/purpose", data={"purpose": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    away = client.post("/purpose", data={"purpose": "x", "next": "//evil.example"})
    assert away.headers["location"] == "/"
    long = client.post("/purpose", data={"purpose": "\N{CRYING FACE}" * 999})
    assert len(long.headers["set-cookie"]) < 4096  # browsers keep no longer ones
    hostile = client.post("/purpose", data={"purpose": '"><script>'})
    assert hostile.status_code == 303 and "<script>" not in client.get("/purpose").text


def test_the_api_gets_the_purpose_with_requests_for_media():
    asked: list[httpx.Request] = []
    client = browser(asked=asked)
    path = f"/api/media/{'0' * 32}"
    client.get(path)
    client.post("/purpose", data={"purpose": PURPOSE})
    client.get(path)
    assert [request.headers.get("x-purpose") for request in asked] == [None, quote(PURPOSE, safe=" ")]
