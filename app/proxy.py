"""A reverse proxy in the app's server for thumbnails, media, exports and reports, and a check of every Host header.

The browser connects to this server only. Streamlit's `server.allowedHosts` checks only the websocket, so a page of
another site could read our routes by DNS rebinding; HostGuard checks every request.
"""

import ipaddress
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.forms import query_string
from app.purpose import purpose_of
from app.sign_in import address_of, authorization, is_own, token_of
from cluster.access.rules import purpose_header
from cluster.settings import AppListener

REPORT_S = 330.0  # a report is made before its first byte is sent; the API takes 5 minutes at most
_ID = re.compile(r"[0-9a-f]{32}")
_PASSED_BACK = ("content-length", "content-range", "accept-ranges", "etag", "last-modified")
_SHOWN = re.compile(r"(image|video|audio)/(?!svg)[\w.+-]+")  # others could run scripts, so they are downloads
_PRIVATE = {
    "Vary": "Cookie",  # who signs in later in the same browser may see less
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
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
        """The routes of thumbnails, media, exports and reports."""
        return [
            Route("/api/thumb/{id}", self.thumbnail),
            Route("/api/media/{id}", self.media),
            Route("/api/export", self.export),
            Route("/api/report", self.report),
        ]

    async def thumbnail(self, request: Request) -> Response:
        """The JPEG of a file. Its URL changes with every analysis, so browsers may cache it for a day."""
        return await self._pass_on(request, "thumbnail", "private, max-age=86400")

    async def media(self, request: Request) -> Response:
        """The file, or the byte range of it that the request names."""
        return await self._pass_on(request, "media", "private, no-cache")

    async def export(self, request: Request) -> Response:
        """The export of the files that pass the filters of the query string, as a download."""
        return await self._download(request, "/v1/export")

    async def report(self, request: Request) -> Response:
        """The report on the files that pass the filters of the query string, as a download."""
        return await self._download(request, "/v1/report", httpx.Timeout(30.0, read=REPORT_S))

    async def _download(self, request: Request, path: str, timeout: httpx.Timeout | None = None) -> Response:
        """What the API answers to the query string, as a download; if it refuses, its sentence."""
        if not is_own(request):  # a link on a page of another site would store a file, and an audit record
            return PlainTextResponse("A page of another site may not export.", 403)
        answer = await self._answer(request, f"{path}?{query_string(request)}", {}, timeout, told=True)
        if isinstance(answer, Response):
            return answer
        headers = _PRIVATE | {"Cache-Control": "private, no-store"}
        headers["Content-Disposition"] = answer.headers.get("content-disposition", "attachment")
        return StreamingResponse(_body(answer), 200, headers, media_type="application/octet-stream")

    async def _pass_on(self, request: Request, what: str, cache: str) -> Response:
        id = request.path_params["id"]
        if not _ID.fullmatch(id):
            return PlainTextResponse("no such file", 404)
        ranges = {name: request.headers[name] for name in ("range", "if-range") if name in request.headers}
        answer = await self._answer(request, f"/v1/assets/{id}/{what}", ranges)
        if isinstance(answer, Response):
            return answer
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if not _SHOWN.fullmatch(kind):
            kind = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        headers |= _PRIVATE | {"Cache-Control": cache}
        return StreamingResponse(_body(answer), answer.status_code, headers, media_type=kind)

    async def _answer(
        self,
        request: Request,
        path: str,
        headers: dict[str, str],
        timeout: httpx.Timeout | None = None,
        told: bool = False,
    ) -> httpx.Response | Response:
        """The API's answer, whose body is still to be read; else the answer to the browser.

        `timeout`: None for that of the client. `told`: with the reason of a refusal.
        """
        token = token_of(request.cookies)
        if not token:
            return PlainTextResponse("You are not signed in.", 401)
        api = self._api()
        sent = {**headers, "Accept-Encoding": "identity", **authorization(token, address_of(request))}
        sent |= purpose_header(purpose_of(request.cookies))
        try:
            asked = api.build_request("GET", path, headers=sent, timeout=timeout or api.timeout)
            answer = await api.send(asked, stream=True)
            why = await _reason(answer) if told and answer.is_error else "not available"
        except httpx.TransportError:
            return PlainTextResponse("the API does not answer", 502)
        if answer.status_code not in (200, 206):
            await answer.aclose()
            status = answer.status_code if answer.status_code in (401, 403, 404, 416, 422, 503, 504) else 502
            return PlainTextResponse(why, status, _PRIVATE)
        return answer


async def _reason(answer: httpx.Response) -> str:
    """The API's own sentence on why it refuses a request."""
    try:
        return str(json.loads(await answer.aread())["detail"])
    except (ValueError, KeyError, TypeError):
        return "not available"


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()  # also if the browser disconnects in the middle of a video


class HostGuard:
    """ASGI middleware: refuses requests for other host names, and adds security headers to every response."""

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
        if not allowed(host, ours.host, ours.names):
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008})
            refusal = PlainTextResponse("This server does not serve that host name.", 403)
            return await refusal(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                missing = [(name, value) for name, value in _HEADERS if name not in present]
                message = {**message, "headers": [*message["headers"], *missing]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


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
