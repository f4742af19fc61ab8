"""Signing in to the app: the page, the cookie, and that nothing else answers without it."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app import sign_in
from app.sign_in import COOKIE, SignIn, SignInGuard
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import file
from tests.support.fakes.sessions import ENDED, LINK, PASSWORD, TOKEN
from tests.support.pages import Visit, drawn, served, words

HTML = {"Accept": "text/html"}


async def page(_: object) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def stream(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def app_of(api) -> TestClient:
    """A client of an app with the sign-in routes and its guard, which follows no redirects."""
    routes = [Route("/", page), Route("/file", page), Route("/_stcore/health", page), Route("/media/x", page)]
    app = Starlette(routes=[*SignIn(api).routes, *routes, WebSocketRoute("/_stcore/stream", stream)])
    return TestClient(SignInGuard(app, api), base_url="http://127.0.0.1:8501", follow_redirects=False)


@pytest.fixture
def fake() -> FakeApi:
    return FakeApi([file("a.jpg", "image")])


@pytest.fixture
def client(fake: FakeApi) -> Iterator[TestClient]:
    yield app_of(partial(httpx.AsyncClient, transport=httpx.ASGITransport(fake.app), base_url="http://api"))


def sign(client: TestClient, **form: str) -> httpx.Response:
    return client.post("/sign-in", data=form)


def test_nothing_but_the_sign_in_page_and_the_probe_answers_without_a_session(client: TestClient):
    for token in ("", "x", ENDED):
        client.cookies.set(COOKIE, token)
        assert client.get("/_stcore/health").text == "the page"
        assert client.get("/sign-in").status_code == 200
        for path in ("/", "/media/x", "/static/x.js", "/_stcore/upload_file", "/api/thumb/x", "/sign-in/", "//sign-in"):
            assert client.get(path).status_code == 401, path
        assert client.put("/_stcore/upload_file/x", headers=HTML).status_code == 401
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/_stcore/stream"):
            pass
        assert closed.value.code == 1008


def test_with_a_session_everything_answers(client: TestClient):
    client.cookies.set(COOKIE, TOKEN)
    assert client.get("/").text == "the page"
    with client.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "hello"


def test_a_page_leads_to_the_sign_in_and_back(client: TestClient):
    answer = client.get("/file?asset=1&in=label%3Dface", headers=HTML)
    assert answer.status_code == 303
    shown = client.get(answer.headers["location"])
    (back,) = re.findall(r'name="next" value="([^"]*)"', shown.text)
    assert back == "/file?asset=1&amp;in=label%3Dface"
    answer = sign(client, name="ann", password=PASSWORD, next="/file?asset=1&in=label%3Dface")
    assert (answer.status_code, answer.headers["location"]) == (303, "/file?asset=1&in=label%3Dface")
    assert client.get("/file").text == "the page"


def test_the_cookie_cannot_be_read_by_scripts_and_is_secure_behind_https(client: TestClient):
    cookie = sign(client, name="ann", password=PASSWORD).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie and "Secure" not in cookie
    answer = client.post("/sign-in", data={"name": "ann", "password": PASSWORD}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_link_signs_in_once(client: TestClient, fake: FakeApi):
    answer = client.get(f"/sign-in?link={LINK}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/").text == "the page"
    answer = client.get(f"/sign-in?link={LINK}")
    assert answer.status_code == 401 and "This link was used before or has expired." in answer.text
    assert "set-cookie" not in answer.headers


def test_a_key_signs_in_and_does_not_become_the_cookie(client: TestClient):
    assert sign(client, key=f" {TOKEN} ").status_code == 303
    assert client.cookies[COOKIE] != TOKEN and client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"name": "ann", "password": "wrong"}, 401, "Name or password is wrong."),
        ({"name": "ann"}, 422, "Enter a name and a password, or a key."),
        ({}, 422, "Enter a name and a password, or a key."),
        ({"name": '<script>"', "password": "x"}, 401, "Name or password is wrong."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_repeated(
    client: TestClient, form: dict[str, str], status: int, sentence: str
):
    answer = sign(client, **form)
    assert answer.status_code == status and sentence in answer.text
    assert "set-cookie" not in answer.headers and "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "next_path",
    [
        "http://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:1",
        "x",
        "/a\nb",
        '"><script>',
        "//[x",
        "http://[x",
    ],
)
def test_the_sign_in_leads_nowhere_else(client: TestClient, next_path: str):
    assert sign(client, name="ann", password=PASSWORD, next=next_path).headers["location"] == "/"
    assert 'value="/"' in client.get("/sign-in", params={"next": next_path}).text


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
def test_a_page_of_another_site_signs_nobody_in(client: TestClient, headers: dict[str, str]):
    answer = client.post("/sign-in", data={"name": "ann", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    client.cookies.set(COOKIE, TOKEN)
    client.get("/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
    assert client.get("/").status_code == 200


def test_a_large_form_is_refused(client: TestClient):
    assert sign(client, name="a" * 20_000, password="b").status_code == 413


@pytest.mark.parametrize("headers", [{"Origin": "http://[x"}, {"Origin": "null"}, {"Origin": "x"}])
def test_a_malformed_origin_is_one_of_another_site(client: TestClient, headers: dict[str, str]):
    assert client.post("/sign-in", data={"name": "ann", "password": PASSWORD}, headers=headers).status_code == 403


@pytest.mark.anyio
async def test_a_query_that_is_not_utf8_leads_to_the_sign_in():
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "query_string": b"label=\xff"}
    scope |= {"headers": [(b"accept", b"text/html"), (b"host", b"127.0.0.1")]}
    await SignInGuard(page, httpx.AsyncClient)(scope, send, send)  # type: ignore[arg-type]
    assert (b"location", b"/sign-in?next=/%3Flabel%3D%C3%BF") in sent[0]["headers"]


def test_signing_out_ends_the_session_at_the_api(client: TestClient, fake: FakeApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sign_in, "FRESH_S", 0.0)
    sign(client, name="ann", password=PASSWORD)
    token = client.cookies[COOKIE]
    answer = client.get("/sign-out")
    assert "You are signed out." in answer.text and COOKIE not in client.cookies
    assert token in fake.sessions.ended
    client.cookies.set(COOKIE, token)
    assert client.get("/").status_code == 401


@pytest.mark.parametrize("fault", [None, 429, 503])
def test_while_the_api_is_away_only_a_session_that_was_valid_passes_and_nobody_signs_in(fault, monkeypatch):
    monkeypatch.setattr(sign_in, "FRESH_S", 0.0)
    faults = []

    def answer(_: httpx.Request) -> httpx.Response:
        if not faults:
            return httpx.Response(200, json={})
        if fault is None:
            raise httpx.ConnectError("x")
        return httpx.Response(fault, json={"detail": "later"})

    app = app_of(partial(httpx.AsyncClient, transport=httpx.MockTransport(answer), base_url="http://api"))
    app.cookies.set(COOKIE, TOKEN)
    assert app.get("/").status_code == 200
    faults.append("away")
    assert app.get("/").status_code == 200
    assert app.get("/sign-out").status_code == 502, "the session lives on, so nobody is told that it ended"
    app.cookies.set(COOKIE, f"rs_{'0' * 12}_{'a' * 43}")
    invented = app.get("/")
    assert invented.status_code == 503 and "raysift up" in invented.text and "the page" not in invented.text
    with pytest.raises(WebSocketDisconnect), app.websocket_connect("/_stcore/stream"):
        pass
    app.cookies.clear()
    assert app.get("/").status_code == 401
    assert sign(app, name="ann", password=PASSWORD).status_code in (429, 502, 503)


def test_a_link_is_not_used_up_by_a_request_for_its_headers_or_a_page_fetched_ahead():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/session":
            asked.append(request.method)
        return httpx.Response(200, json={"token": TOKEN})

    app = app_of(partial(httpx.AsyncClient, transport=httpx.MockTransport(answer), base_url="http://api"))
    assert app.head("/sign-in?link=x").status_code == 200
    assert app.get("/sign-in?link=x", headers={"Sec-Purpose": "prefetch"}).status_code == 200
    assert asked == [] and not app.cookies
    assert app.get("/sign-in?link=x").status_code == 303 and asked == ["POST"]


def test_the_api_hears_for_which_browser_the_app_asks(fake: FakeApi):
    api = partial(httpx.AsyncClient, transport=httpx.ASGITransport(fake.app), base_url="http://api")
    guarded = SignInGuard(Starlette(routes=[*SignIn(api).routes, Route("/", page)]), api)
    browser = TestClient(guarded, client=("10.0.0.7", 5000), follow_redirects=False)
    seen = []

    @fake.app.middleware("http")
    async def note(request, call_next):
        seen.append(request.headers.get("x-forwarded-for"))
        return await call_next(request)

    browser.post("/sign-in", data={"name": "ann", "password": PASSWORD})
    assert seen == ["10.0.0.7"]


# ---- pages


def test_a_page_shows_who_is_signed_in_and_a_way_out(visit: Visit):
    shown = words(visit())
    assert "Ann &#60;b&#62;, admin" in shown
    assert 'href="/sign-out"' in shown


@pytest.mark.parametrize(("role", "pages"), [("viewer", 0), ("reviewer", 1), ("operator", 2), ("admin", 2)])
def test_the_pages_that_a_role_may_use_are_offered(visit: Visit, role: str, pages: int):
    api = FakeApi([file("a.jpg", "image"), file("b.mp4", "video")], role=role)
    with served(api) as port:
        at = visit(port=port)
        assert f", {role}" in words(at)
        film = visit("file", port=port, asset=api.files[1].id)
    assert ("/api/media/" in str(drawn(film, "viewer"))) is (role != "viewer"), "a viewer is shown the thumbnail"


def test_an_ended_session_is_said_with_a_way_to_sign_in(visit: Visit):
    for view in ("browse", "search"):
        at = visit(view, session=ENDED) if view == "browse" else visit(session=ENDED)
        assert "Your session has ended." in words(at) and 'href="/sign-in' in words(at)


def test_what_is_cached_for_one_session_is_not_shown_to_another(visit: Visit):
    with served(FakeApi([file("secret.jpg", "image")])) as port:
        assert drawn(visit(port=port), "gallery")["items"]
        at = visit(port=port, session=ENDED)
    assert not at.get("bidi_component") and "secret.jpg" not in words(at)
