"""The app's way to an OpenID Connect provider and back, with a stub of the API."""

import json
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app import oidc
from app.oidc import COOKIE
from app.sign_in import COOKIE as SESSION
from app.sign_in import SignIn, SignInGuard
from tests.support.fakes.sessions import TOKEN

CALLBACK = "/sign-in/oidc/callback"
FLOW = f"1790000000.{'f' * 43}"


class Api:
    """A stub of the API's routes for sessions and the provider."""

    def __init__(self) -> None:
        self.provider: httpx.Response | None = httpx.Response(
            200, json={"host": "id.example.org", "sign_out_url": "https://id.example.org/out?client_id=a&b"}
        )
        self.begin = httpx.Response(200, json={"url": "https://id.example.org/auth?state=s", "flow": FLOW})
        self.session = httpx.Response(200, json={"token": TOKEN})
        self.asked: list[tuple[str, str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path, json.loads(request.content or "null")))
        match request.method, request.url.path:
            case "GET", "/v1/oidc":
                if self.provider is None:
                    raise httpx.ConnectError("x")
                return self.provider
            case "POST", "/v1/oidc":
                return self.begin
            case "POST", "/v1/session":
                return self.session
        return httpx.Response(204)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api) -> TestClient:
    return client_of(api)


def client_of(api: Api) -> TestClient:
    """A browser that follows no redirects."""
    made = partial(httpx.AsyncClient, transport=httpx.MockTransport(api.answer), base_url="http://api")
    page = Route("/file", lambda _: PlainTextResponse("the page"))
    guarded = SignInGuard(Starlette(routes=[*SignIn(made).routes, page]), made)
    return TestClient(guarded, base_url="http://127.0.0.1:8501", follow_redirects=False)


def test_the_page_offers_the_provider_only_where_one_is_set(client: TestClient, api: Api):
    shown = client.get("/sign-in", params={"next": "/file?a=1&b=2"}).text
    assert 'href="/sign-in/oidc?next=/file%3Fa%3D1%26b%3D2"' in shown and "Sign in with id.example.org" in shown
    client.get("/sign-in")
    assert [path for _, path, _ in api.asked] == ["/v1/oidc"], "the answer is kept"
    for none in (httpx.Response(404, json={"detail": "none"}), httpx.Response(200, text="<html>"), None):
        api.provider = none
        assert "/sign-in/oidc" not in client_of(api).get("/sign-in").text


def test_a_browser_goes_to_the_provider_and_comes_back_to_its_page(client: TestClient, api: Api):
    answer = client.get("/sign-in/oidc", params={"next": "/file?a=1&b=2"})
    assert (answer.status_code, answer.headers["location"]) == (303, "https://id.example.org/auth?state=s")
    redirect_uri = f"http://127.0.0.1:8501{CALLBACK}"
    assert api.asked[-1] == ("POST", "/v1/oidc", {"redirect_uri": redirect_uri})
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/sign-in/oidc", "Max-Age=600"))
    answer = client.get(CALLBACK, params={"code": "c", "state": "s"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/file?a=1&b=2")
    given = {"code": "c", "state": "s", "flow": FLOW, "redirect_uri": redirect_uri}
    assert api.asked[-1] == ("POST", "/v1/session", {"oidc": given})
    assert client.cookies[SESSION] == TOKEN and COOKIE not in client.cookies
    assert client.get("/file").text == "the page"


def test_behind_https_the_provider_leads_back_to_https_and_the_cookies_are_secure(client: TestClient, api: Api):
    headers = {"X-Forwarded-Proto": "https", "Host": "raysift.example.com"}
    answer = client.get("/sign-in/oidc", headers=headers)
    assert api.asked[-1][2] == {"redirect_uri": f"https://raysift.example.com{CALLBACK}"}
    assert "Secure" in answer.headers["set-cookie"]


def test_a_code_in_a_browser_that_did_not_begin_signs_nobody_in(client: TestClient, api: Api):
    answer = client.get(CALLBACK, params={"code": "stolen", "state": "s"})
    assert answer.status_code == 401 and "not begun in this browser" in answer.text
    assert "set-cookie" not in answer.headers and all(path != "/v1/session" for _, path, _ in api.asked)


def test_what_the_api_refuses_is_said_and_the_sign_in_may_go_on(client: TestClient, api: Api):
    client.get("/sign-in/oidc")
    api.session = httpx.Response(403, json={"detail": "none of your groups may use Raysift: ask <an> admin"})
    answer = client.get(CALLBACK, params={"code": "c", "state": "wrong"})
    assert answer.status_code == 403 and "None of your groups may use Raysift: ask &lt;an&gt; admin." in answer.text
    assert SESSION not in client.cookies and COOKIE in client.cookies
    assert "stolen" not in client.get(CALLBACK, params={"code": "stolen"}).text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            {"error": "access_denied", "error_description": "<b>call 555</b>"},
            "The provider did not sign you in: access_denied.",
        ),
        ({"error": "<script>"}, "The provider did not sign you in."),
        ({}, "The provider did not sign you in."),
    ],
)
def test_the_providers_error_is_said_by_its_code_only(client: TestClient, query: dict[str, str], said: str):
    client.get("/sign-in/oidc")
    answer = client.get(CALLBACK, params=query)
    assert answer.status_code == 401 and said in answer.text
    assert "555" not in answer.text and "<script" not in answer.text


@pytest.mark.parametrize("next_path", ["//evil.example", "https://evil.example", "/" + "a" * 3000])
def test_the_way_back_leads_nowhere_else_and_fits_into_a_cookie(client: TestClient, next_path: str):
    client.get("/sign-in/oidc", params={"next": next_path})
    assert client.get(CALLBACK, params={"code": "c", "state": "s"}).headers["location"] == "/"
    client.cookies.set(COOKIE, f"{FLOW}|%2F%2Fevil.example", domain="127.0.0.1", path="/sign-in/oidc")
    assert client.get(CALLBACK, params={"code": "c", "state": "s"}).headers["location"] == "/"


def test_a_provider_that_is_away_is_said_on_the_page(client: TestClient, api: Api):
    api.begin = httpx.Response(503, json={"detail": "signing in with id.example.org is not possible now"})
    answer = client.get("/sign-in/oidc")
    assert answer.status_code == 503 and "Signing in with id.example.org is not possible now." in answer.text
    assert "set-cookie" not in answer.headers


def test_a_page_fetched_ahead_begins_no_sign_in(client: TestClient, api: Api):
    assert client.head("/sign-in/oidc").status_code == 204
    assert client.get("/sign-in/oidc", headers={"Sec-Purpose": "prefetch"}).status_code == 204
    assert api.asked == []


def test_after_signing_out_the_provider_is_one_click_away(client: TestClient):
    client.cookies.set(SESSION, TOKEN)
    assert 'href="https://id.example.org/out?client_id=a&amp;b"' in client.get("/sign-out").text
    assert "/out?" not in client.get("/sign-in").text


@pytest.mark.parametrize("fault", [None, httpx.Response(504, json={"detail": "late"})])
def test_while_the_api_is_away_the_page_still_comes(api: Api, monkeypatch: pytest.MonkeyPatch, fault):
    api.provider = fault
    monkeypatch.setattr(oidc, "AWAY_S", 0.0)
    browser = client_of(api)
    assert browser.get("/sign-in").status_code == 200
    api.provider = httpx.Response(200, json={"host": "id.example.org", "sign_out_url": None})
    assert "Sign in with id.example.org" in browser.get("/sign-in").text
