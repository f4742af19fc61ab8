"""A reverse proxy in the app's server for the API's thumbnails, media and exports, and a check of every Host header.

The browser connects to this server only. Streamlit's `server.allowedHosts` checks only the websocket, so a page of
another site could read our routes by DNS rebinding; HostGuard checks every request.
"""

import ipaddress
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
from cluster.people.face import PATTERN
from cluster.settings import AppListener

_ID, _FACE = re.compile(r"[0-9a-f]{32}"), re.compile(PATTERN)
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
    """Streams pictures, media and exports from the API, which browsers cannot reach, with the browser's session."""

    def __init__(self, api: Callable[[], httpx.AsyncClient]) -> None:
        """`api` returns a client with the API's base URL; it is called for every request."""
        self._api = api

    @property
    def routes(self) -> list[Route]:
        """The routes of thumbnails, faces, media and exports."""
        return [
            Route("/api/thumb/{id}", self.thumbnail),
            Route("/api/media/{id}", self.media),
            Route("/api/face/{id}", self.face),
            Route("/api/export", self.export),
        ]

    async def thumbnail(self, request: Request) -> Response:
        """The JPEG of a file. Its URL changes with every analysis, so browsers may cache it for a day."""
        return await self._pass_on(request, _ID, "assets/{id}/thumbnail", "private, max-age=86400")

    async def media(self, request: Request) -> Response:
        """The file, or the byte range of it that the request names."""
        return await self._pass_on(request, _ID, "assets/{id}/media", "private, no-cache")

    async def face(self, request: Request) -> Response:
        """The JPEG of a face."""
        return await self._pass_on(request, _FACE, "people/faces/{id}/picture", "private, max-age=3600")

    async def export(self, request: Request) -> Response:
        """The export of the files that pass the filters of the query string, as a download."""
        if not is_own(request):  # a link on a page of another site would store an export, and an audit record
            return PlainTextResponse("A page of another site may not export.", 403)
        answer = await self._answer(request, f"/v1/export?{query_string(request)}", {})
        if isinstance(answer, Response):
            return answer
        headers = _PRIVATE | {"Cache-Control": "private, no-store"}
        headers["Content-Disposition"] = answer.headers.get("content-disposition", "attachment")
        return StreamingResponse(_body(answer), 200, headers, media_type="application/octet-stream")

    async def _pass_on(self, request: Request, ids: re.Pattern[str], path: str, cache: str) -> Response:
        id = request.path_params["id"]
        if not ids.fullmatch(id):
            return PlainTextResponse("no such file", 404)
        ranges = {name: request.headers[name] for name in ("range", "if-range") if name in request.headers}
        answer = await self._answer(request, f"/v1/{path.format(id=id)}", ranges)
        if isinstance(answer, Response):
            return answer
        headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if not _SHOWN.fullmatch(kind):
            kind = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        headers |= _PRIVATE | {"Cache-Control": cache}
        return StreamingResponse(_body(answer), answer.status_code, headers, media_type=kind)

    async def _answer(self, request: Request, path: str, headers: dict[str, str]) -> httpx.Response | Response:
        """The API's answer, whose body is still to be read; else the answer to the browser."""
        token = token_of(request.cookies)
        if not token:
            return PlainTextResponse("You are not signed in.", 401)
        api = self._api()
        sent = {**headers, "Accept-Encoding": "identity", **authorization(token, address_of(request))}
        sent |= purpose_header(purpose_of(request.cookies))
        try:
            answer = await api.send(api.build_request("GET", path, headers=sent), stream=True)
        except httpx.TransportError:
            return PlainTextResponse("the API does not answer", 502)
        if answer.status_code not in (200, 206):
            await answer.aclose()
            status = answer.status_code if answer.status_code in (401, 403, 404, 416, 422) else 502
            return PlainTextResponse("not available", status)
        return answer


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
