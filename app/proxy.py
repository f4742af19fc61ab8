"""What the app's server does beside Streamlit: a proxy for the API's media and downloads, a check of every Host header.

The browser connects to this server only. Streamlit's `server.allowedHosts` checks only the websocket, so a page of
another site could read our routes by DNS rebinding; HostGuard checks every request. Of the page that opens the
websocket Streamlit compares the host name only. Browsers send a cookie to all ports of a host, so a page of another
server of this machine could see what whoever is signed in sees; HostGuard compares the port as well.
"""

import ipaddress
import re
from collections.abc import AsyncIterator, Callable, Iterable

import httpx
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.forms import query_string
from app.language.choice import current
from app.language.texts import _
from app.paint import SCRIPT
from app.purpose import purpose_of
from app.sign_in import address_of, authorization, is_own, token_of
from cluster.access.rules import purpose_header
from cluster.api_types import Problem
from cluster.people.face import PATTERN
from cluster.settings import AppListener

REPORT_S = 330.0  # a report is made before its first byte is sent; the API takes 5 minutes at most
_ID, _FACE = re.compile(r"[0-9a-f]{32}"), re.compile(PATTERN)
_PASSED_BACK = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")
# others could run scripts, so they are downloads; of a copy the player has to know the codecs
_SHOWN = re.compile(r"(image|video|audio)/(?!svg)[\w.+-]+|(video|audio)/mp4; codecs=\"[\w.,]+\"")
_JSON = re.compile(r"application/json")
_SECOND = re.compile(r"\d{1,6}(\.\d{1,6})?")
_UNSTORED = "private, no-store"  # nothing explicit stays in the cache of a browser
_PRIVATE = {
    "Cache-Control": _UNSTORED,
    "Vary": "Cookie",  # who signs in later in the same browser may see less
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
# Streamlit's page looks for its server below its own path first (/search/_stcore/health), which is an error in the
# browser's console, unless it is told
_HTML = "text/html; charset=utf-8"
_PAGE = b"<title>Streamlit</title>"
_ENGLISH = b'<html lang="en">'
_SERVER_HERE = b"<script>window.__streamlit = { BACKEND_BASE_URL: location.origin }</script>"
_ADDED = _SERVER_HERE + SCRIPT
_HEADERS = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
)


class Relay:
    """Streams pictures, media and downloads from the API, which browsers cannot reach, with the browser's session."""

    def __init__(self, api: Callable[[], httpx.AsyncClient]) -> None:
        """`api` returns a client with the API's base URL; it is called for every request."""
        self._api = api

    @property
    def routes(self) -> list[Route]:
        """The routes of thumbnails, faces, media, copies of them, exports and reports."""
        return [
            Route("/api/thumb/{id}", self.thumbnail),
            Route("/api/media/{id}", self.media),
            Route("/api/face/{id}", self.face),
            Route("/api/playable/{id}", self.playable),
            Route("/api/frame/{id}", self.frame),
            Route("/api/properties/{id}", self.properties),
            Route("/api/export", self.export),
            Route("/api/report", self.report),
        ]

    async def thumbnail(self, request: Request) -> Response:
        """The JPEG of a file."""
        return await self._pass_on(request, _ID, "assets/{id}/thumbnail")

    async def media(self, request: Request) -> Response:
        """The file, or the byte range of it that the request names."""
        return await self._pass_on(request, _ID, "assets/{id}/media")

    async def face(self, request: Request) -> Response:
        """The JPEG of a face."""
        return await self._pass_on(request, _FACE, "people/faces/{id}/picture")

    async def playable(self, request: Request) -> Response:
        """What the browser can show in place of the file: a part of it from the second `from_s` on."""
        return await self._pass_on(request, _ID, "assets/{id}/playable", "from_s")

    async def frame(self, request: Request) -> Response:
        """The frame of a video at the second `at_s`."""
        return await self._pass_on(request, _ID, "assets/{id}/frame", "at_s")

    async def properties(self, request: Request) -> Response:
        """What the file says about itself, as JSON."""
        return await self._pass_on(request, _ID, "assets/{id}/properties", shown=_JSON)

    async def export(self, request: Request) -> Response:
        """The export of the files that pass the filters of the query string, as a download."""
        return await self._download(request, "/v1/export")

    async def report(self, request: Request) -> Response:
        """The report on the files that pass the filters of the query string, as a download."""
        return await self._download(request, "/v1/report", httpx.Timeout(30.0, read=REPORT_S))

    async def _download(self, request: Request, path: str, timeout: httpx.Timeout | None = None) -> Response:
        """What the API answers to the query string, as a download; if it refuses, its sentence."""
        if not is_own(request):  # a link on a page of another site would store a file, and an audit record
            return PlainTextResponse(_("A page of another site may not export."), 403)
        answer = await self._answer(request, f"{path}?{query_string(request)}", {}, timeout)
        if isinstance(answer, Response):
            return answer
        headers = _PRIVATE | {"Content-Disposition": answer.headers.get("content-disposition", "attachment")}
        return StreamingResponse(_body(answer), 200, headers, media_type="application/octet-stream")

    async def _pass_on(
        self,
        request: Request,
        ids: re.Pattern[str],
        path: str,
        second: str = "",
        shown: re.Pattern[str] = _SHOWN,
    ) -> Response:
        """The API's answer; a download unless its type is `shown`. `second`: a query parameter, a time in seconds."""
        id, at = request.path_params["id"], request.query_params.get(second, "0")
        if not ids.fullmatch(id) or not _SECOND.fullmatch(at):
            return PlainTextResponse(_("no such file"), 404)
        query = f"?{second}={at}" if second else ""
        ranges = {name: request.headers[name] for name in ("range", "if-range") if name in request.headers}
        answer = await self._answer(request, f"/v1/{path.format(id=id)}{query}", ranges)
        if isinstance(answer, Response):
            return answer
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        kind = answer.headers.get("content-type", "").lower()
        kind = kind if shown.fullmatch(kind) else kind.split(";")[0].strip()
        if not shown.fullmatch(kind):
            kind = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        headers |= _PRIVATE
        return StreamingResponse(_body(answer), answer.status_code, headers, media_type=kind)

    async def _answer(
        self,
        request: Request,
        path: str,
        headers: dict[str, str],
        timeout: httpx.Timeout | None = None,
    ) -> httpx.Response | Response:
        """The API's answer, whose body is still to be read; else the answer to the browser.

        `timeout`: None for that of the client.
        """
        token = token_of(request.cookies)
        if not token:
            return PlainTextResponse(_("You are not signed in."), 401)
        api = self._api()
        sent = {**headers, "Accept-Encoding": "identity", **authorization(token, address_of(request))}
        sent |= purpose_header(purpose_of(request.cookies))
        try:
            asked = api.build_request("GET", path, headers=sent, timeout=timeout or api.timeout)
            answer = await api.send(asked, stream=True)
        except httpx.TransportError:
            return PlainTextResponse(_("the API does not answer"), 502)
        if answer.status_code not in (200, 206):
            status = answer.status_code if answer.status_code in (401, 403, 404, 416, 422, 503, 504) else 502
            return PlainTextResponse(await _sentence(answer), status, _PRIVATE)
        return answer


async def _sentence(answer: httpx.Response) -> str:
    """Why the API refuses. The text of a proxy in front of it is not shown: it may name internal hosts."""
    try:
        return Problem.model_validate_json(await answer.aread()).detail
    except (ValueError, httpx.TransportError):
        return _("not available")
    finally:
        await answer.aclose()


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()  # also if the browser disconnects in the middle of a video


class HostGuard:
    """ASGI middleware: refuses requests for other host names, and websockets of other servers' pages.

    It adds security headers to every response.
    """

    def __init__(self, app: ASGIApp, listens_on: Callable[[], AppListener]) -> None:
        """`listens_on` returns the configured address of the app and its other host names."""
        self.app = app
        self._listens_on = listens_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request with another Host header (403, or websocket close 1008); pass on all others."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        ours = self._listens_on()
        is_ours = allowed(host, ours.host, ours.names)
        if not is_ours or (scope["type"] == "websocket" and not _is_own_page(Headers(scope=scope), ours.names)):
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008})
            refusal = PlainTextResponse(_("This server does not serve that host name."), 403)
            return await refusal(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                missing = [(name, value) for name, value in _HEADERS if name not in present]
                message = {**message, "headers": [*message["headers"], *missing]}
                if scope["path"].startswith("/media/"):  # what was uploaded, which Streamlit serves
                    MutableHeaders(raw=message["headers"])["Cache-Control"] = _UNSTORED
            await send(message)

        await self.app(scope, receive, send_with_headers)


class RootGuide:
    """ASGI middleware: tells Streamlit's page its language, and that its server is at the root of this host.

    The page also gets the script that measures its first paint.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to the answer if it is Streamlit's page."""
        start: Message | None = None  # of an answer in HTML, until the beginning of its body is known

        async def send_with_guide(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if message["status"] == 200 and Headers(raw=message["headers"]).get("content-type") == _HTML:
                    start = message
                    return
            elif start is not None:
                if _PAGE in message.get("body", b""):
                    spoken = message["body"].replace(_ENGLISH, f'<html lang="{current()}">'.encode())
                    message = {**message, "body": spoken.replace(_PAGE, _ADDED + _PAGE)}
                    headers = MutableHeaders(raw=start["headers"])
                    if "content-length" in headers:
                        headers["content-length"] = str(int(headers["content-length"]) + len(_ADDED))
                await send(start)
                start = None
            await send(message)

        gets = scope["type"] == "http" and scope["method"] == "GET"
        if gets and "text/html" in Headers(scope=scope).get("accept", ""):
            plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            await self.app({**scope, "headers": plain}, receive, send_with_guide)
        else:
            await self.app(scope, receive, send)


def _is_own_page(headers: Headers, names: Iterable[str]) -> bool:
    """Whether a page of this server opens a websocket, or a program, which sends no Origin.

    A proxy that replaces the Host header has its name in `names`.
    """
    origins = headers.getlist("origin")
    if not origins:
        return True
    place, host = origins[0].lower().partition("://")[2], headers.get("host", "").lower()
    if len(origins) > 1 or place == host:
        return len(origins) == 1
    name = re.sub(r":\d+$", "", place)
    return name in {own.lower() for own in names} and name != re.sub(r":\d+$", "", host)


def allowed(host_header: str, listens_on: str, names: Iterable[str] = ()) -> bool:
    """Whether a Host header names the loopback interface, the configured host or one of its other names.

    A server that listens on all interfaces also accepts any IP address: DNS rebinding requires a name.
    """
    host = re.sub(r":\d+$", "", host_header.strip()).strip("[]").lower()
    if host in {"localhost", "127.0.0.1", "::1", listens_on.lower(), *(name.lower() for name in names)}:
        return True
    return listens_on in ("0.0.0.0", "::") and _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
