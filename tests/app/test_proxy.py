"""The app's reverse proxy to the API, its check of the Host header, and the measure of a page's first paint."""

from functools import partial

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.paint import PATH, SCRIPT, FirstPaint
from app.proxy import HostGuard, Relay, RootGuide, allowed
from app.sign_in import COOKIE
from cluster.settings import AppListener
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import file
from tests.support.fakes.sessions import TOKEN


@pytest.fixture(scope="module")
def fake() -> FakeApi:
    return FakeApi()


def relay(fake: FakeApi) -> TestClient:
    """A client of the proxy, which forwards to the fake API."""
    client = partial(httpx.AsyncClient, transport=httpx.ASGITransport(fake.app), base_url="http://api")
    app = Starlette(routes=Relay(client).routes)
    guarded = HostGuard(app, listens_on=AppListener)
    return TestClient(guarded, base_url="http://127.0.0.1:8501", cookies={COOKIE: TOKEN})


def test_a_byte_range_is_passed_through(fake: FakeApi):
    call = next(file for file in fake.files if file.kind == "audio")
    part = relay(fake).get(f"/api/media/{call.id}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, len(part.content), part.headers["content-range"]) == (206, 4, "bytes 4-7/128044")
    assert part.headers["content-type"] == "audio/wav"


def test_a_range_beyond_the_end_has_the_status_of_the_api(fake: FakeApi):
    call = next(file for file in fake.files if file.kind == "audio")
    assert relay(fake).get(f"/api/media/{call.id}", headers={"Range": "bytes=999999999-"}).status_code == 416


@pytest.mark.parametrize("path", ["thumb", "media", "playable", "frame", "properties"])
def test_nothing_of_a_file_stays_in_the_browsers_cache(fake: FakeApi, path: str):
    film = next(file for file in fake.files if file.kind == "video" and file.has_thumbnail)
    answer = relay(fake).get(f"/api/{path}/{film.id}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")


def test_an_upload_that_streamlit_serves_does_not_stay_there_either():
    kept = {"Cache-Control": "max-age=600"}
    app = Starlette(routes=[Route("/media/a.jpg", lambda _: Response(b"", headers=kept))])
    answer = TestClient(HostGuard(app, listens_on=AppListener), base_url="http://127.0.0.1").get("/media/a.jpg")
    assert answer.headers.get_list("cache-control") == ["private, no-store"]


def test_a_thumbnail_is_private_and_has_nosniff_headers(fake: FakeApi):
    picture = relay(fake).get(f"/api/thumb/{fake.files[0].id}")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["cross-origin-resource-policy"] == "same-origin"


def test_an_html_file_is_sent_as_a_download():
    page = FakeApi([file("page.html", "image")])
    answer = relay(page).get(f"/api/media/{page.files[0].id}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("id", ["..%2f..%2fjobs", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "%0a"])
def test_an_invalid_id_is_not_sent_to_the_api(id: str):
    unused = Relay(lambda: pytest.fail("the API was called"))
    assert TestClient(Starlette(routes=unused.routes)).get(f"/api/media/{id}").status_code == 404


def test_an_unreachable_api_is_a_bad_gateway():
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("x")

    down = Relay(partial(httpx.AsyncClient, transport=httpx.MockTransport(refuse), base_url="http://api"))
    client = TestClient(Starlette(routes=down.routes), cookies={COOKIE: TOKEN})
    assert client.get(f"/api/thumb/{'0' * 32}").status_code == 502


def test_the_proxy_asks_with_the_session_of_the_browser_and_says_for_whom():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.headers.get("authorization"), request.headers.get("x-forwarded-for")))
        return httpx.Response(403, json={"detail": "no"})

    api = partial(httpx.AsyncClient, transport=httpx.MockTransport(answer), base_url="http://api")
    client = TestClient(Starlette(routes=Relay(api).routes), client=("10.0.0.7", 5000))
    assert client.get(f"/api/media/{'0' * 32}").status_code == 401 and asked == []
    client.cookies.set(COOKIE, TOKEN)
    assert client.get(f"/api/media/{'0' * 32}").status_code == 403
    assert asked == [(f"Bearer {TOKEN}", "10.0.0.7")]


def test_a_request_for_another_host_name_is_refused(fake: FakeApi):
    path = f"/api/thumb/{fake.files[0].id}"
    assert relay(fake).get(path, headers={"Host": "evil.example"}).status_code == 403
    assert relay(fake).get(path, headers={"Host": "localhost:8501"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "listens_on", "expected"),
    [
        ("127.0.0.1:8501", "127.0.0.1", True),
        ("[::1]:8501", "127.0.0.1", True),
        ("files.example:443", "files.example", True),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("10.0.0.5:8501", "127.0.0.1", False),
        ("10.0.0.5:8501", "0.0.0.0", True),
        ("evil.example", "0.0.0.0", False),
        ("Raysift.example:443", "0.0.0.0", True),
        ("raysift.example.evil.example", "127.0.0.1", False),
    ],
)
def test_only_configured_host_names_are_allowed(host: str, listens_on: str, expected: bool):
    assert allowed(host, listens_on, ["raysift.example"]) is expected


def exporting(answer: httpx.Response, asked: list[httpx.Request]) -> TestClient:
    """A client of the proxy, with an API that gives this answer."""
    transport = httpx.MockTransport(lambda request: (asked.append(request), answer)[1])
    api = partial(httpx.AsyncClient, transport=transport, base_url="http://api")
    return TestClient(Starlette(routes=Relay(api).routes), cookies={COOKIE: TOKEN})


def test_an_export_is_passed_on_as_a_download_with_the_filters_of_the_page():
    named = {"content-type": "text/html", "content-disposition": 'attachment; filename="raysift.csv"'}
    asked: list[httpx.Request] = []
    client = exporting(httpx.Response(200, stream=httpx.ByteStream(b"uri\n"), headers=named), asked)
    answer = client.get("/api/export?format=csv&label=a%26b&label=c", headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.content) == (200, b"uri\n")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == named["content-disposition"]
    assert answer.headers["cache-control"] == "private, no-store"
    assert str(asked[0].url) == "http://api/v1/export?format=csv&label=a%26b&label=c"
    assert asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_page_of_another_site_cannot_export():
    asked: list[httpx.Request] = []
    client = exporting(httpx.Response(200), asked)
    assert client.get("/api/export", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert exporting(httpx.Response(422), []).get("/api/export?format=xml").status_code == 422
    client.cookies.clear()
    assert client.get("/api/export").status_code == 401
    assert asked == []


def test_a_report_is_passed_on_as_a_download_and_may_take_minutes():
    named = {"content-type": "text/html", "content-disposition": 'attachment; filename="report-harbour.html"'}
    asked: list[httpx.Request] = []
    client = exporting(httpx.Response(200, stream=httpx.ByteStream(b"<!doctype html>"), headers=named), asked)
    answer = client.get("/api/report?format=html&case=harbour", headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.content) == (200, b"<!doctype html>")
    assert answer.headers["content-type"] == "application/octet-stream"  # it is not shown as a page of the app
    assert answer.headers["content-disposition"] == named["content-disposition"]
    assert str(asked[0].url) == "http://api/v1/report?format=html&case=harbour"
    assert asked[0].extensions["timeout"]["read"] > 300
    assert client.get("/api/report", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("path", ["/api/export", "/api/report"])
def test_a_download_that_is_refused_says_why_as_plain_text(path: str):
    refused = httpx.Response(422, json={"detail": "9,000 files pass these filters <b>"})
    answer = exporting(refused, []).get(path)
    assert (answer.status_code, answer.text) == (422, "9,000 files pass these filters <b>")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        (None, True),  # a program
        ("http://127.0.0.1:8501", True),
        ("http://127.0.0.1:9999", False),  # another server of this machine: it gets the cookie too
        ("http://127.0.0.1", False),
        ("http://localhost:8501", False),
        ("http://evil.example:8501", False),
        ("null", False),
        ("https://view.example.com", True),  # of a proxy that replaces the Host header
        ("https://view.example.com.evil.example", False),
    ],
)
def test_a_websocket_is_opened_by_pages_of_this_server_only(origin: str | None, is_own: bool):
    async def hello(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")

    app = Starlette(routes=[WebSocketRoute("/_stcore/stream", hello)])
    guarded = HostGuard(app, lambda: AppListener(names=["view.example.com"]))
    opened = TestClient(guarded).websocket_connect(
        "ws://127.0.0.1:8501/_stcore/stream", headers={"Origin": origin} if origin else {}
    )
    if is_own:
        with opened as socket:
            assert socket.receive_text() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect), opened:
            pass


@pytest.mark.parametrize("media_type", ["text/html", "application/json"])
def test_streamlits_page_is_told_that_its_server_is_at_the_root(media_type: str):
    page = "<head><title>Streamlit</title></head>"
    app = Starlette(routes=[Route("/search", lambda _: Response(page, media_type=media_type))])
    answer = TestClient(RootGuide(app)).get("/search", headers={"Accept": "text/html,*/*"})
    assert ("BACKEND_BASE_URL: location.origin" in answer.text) == (media_type == "text/html")
    assert answer.text.endswith("<title>Streamlit</title></head>")
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_copy_is_passed_on_with_its_codecs_and_is_not_stored(fake: FakeApi):
    film = next(file for file in fake.files if file.kind == "video")
    part = relay(fake).get(f"/api/playable/{film.id}?from_s=10.5")
    assert (part.headers["content-type"], part.content[4:8]) == ('video/mp4; codecs="avc1.4d4028"', b"ftyp")
    assert part.headers["cache-control"] == "private, no-store"
    assert relay(fake).get(f"/api/playable/{film.id}?from_s=100").status_code == 416
    assert relay(fake).get(f"/api/frame/{film.id}?at_s=1").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("second", ["-1", "1e9", "1%26purpose=x", "nan", ""])
def test_a_second_that_is_none_is_not_sent_to_the_api(second: str):
    unused = Relay(lambda: pytest.fail("the API was called"))
    path = f"/api/playable/{'0' * 32}?from_s={second}"
    assert TestClient(Starlette(routes=unused.routes)).get(path).status_code == 404


def test_the_reason_of_the_api_is_passed_on_and_what_a_file_says_is_json():
    film = file("broken.avi", "video")
    client = relay(FakeApi([film]))
    refused = client.get(f"/api/playable/{film.id}")
    assert (refused.status_code, refused.text) == (422, "there is no decoder for its codec")
    said = client.get(f"/api/properties/{film.id}")
    assert (said.headers["content-type"], said.json()["camera"]) == ("application/json", "Canon EOS 5D")


def painting(asked, away=False):
    """A client of the route, and the requests that reach the API in `asked`."""

    def answer(request):
        if away:
            raise httpx.ConnectError("nothing listens there")
        asked.append(request)
        return httpx.Response(204)

    def api():
        return httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://api")

    return TestClient(Starlette(routes=FirstPaint(api).routes), cookies={COOKIE: TOKEN})


def test_the_seconds_of_the_first_paint_are_passed_on_with_the_session_of_the_browser():
    asked = []
    assert painting(asked).post(PATH, content="0.750").status_code == 204
    (request,) = asked
    assert (request.method, request.url.path, request.content) == ("POST", "/v1/first-paint", b'{"seconds":0.75}')
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("content", ["", "soon", "nan", "inf", "1" * 100])
def test_what_is_no_number_of_seconds_is_refused(content):
    asked = []
    assert painting(asked).post(PATH, content=content).status_code == 422
    assert asked == []


def test_a_page_of_another_site_measures_nothing():
    asked = []
    assert painting(asked).post(PATH, content="1", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert asked == []


def test_while_the_api_is_away_the_page_is_not_told():
    assert painting([], away=True).post(PATH, content="1").status_code == 204


def test_the_script_sends_the_first_paint_to_the_route():
    assert f'sendBeacon("{PATH}"'.encode() in SCRIPT
