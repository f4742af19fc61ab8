"""Signing in to the app: its page, its cookie, and a guard in front of everything else that the app serves.

The cookie holds a session of the API, which scripts of a page cannot read. The app keeps no sessions and has no key of
its own: it asks the API with the session of whoever looks, so that a page shows what that person may see.
"""

import hashlib
import html
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.access import tokens

COOKIE = "raysift_session"
COOKIE_S = 12 * 3600  # as long as a session of the API
PATH, OUT_PATH = "/sign-in", "/sign-out"
OPEN = (PATH, "/_stcore/health")  # the second one for probes
FRESH_S = 5.0  # how long a session that was checked is trusted
MOST_KNOWN = 10_000
MOST_BYTES = 16 << 10  # of the form

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Raysift: sign in</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; --line: #d7dde0; --main: #0f6e84; --bad: #a3261b }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #323c42; --main: #6cc3d8; --bad: #ff8f85 }}
  body {{ background: #12171a; color: #e3e9ec }} }}
body {{ font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem; color: var(--main) }}
label {{ display: block; margin: .9rem 0 .2rem }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid var(--line);
  border-radius: 6px }}
button {{ margin-top: 1.2rem; background: #0f6e84; color: #fff; border: 0; cursor: pointer }}
p.bad {{ color: var(--bad) }} p, summary {{ font-size: .9rem }}
</style>
<main><h1>Raysift</h1>{said}
<form method="post" action="/sign-in"><input type="hidden" name="next" value="{next}">
<label for="name">Name</label><input id="name" name="name" autocomplete="username" autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password">
<details><summary>Or with a key</summary><label for="key">Key</label>
<input id="key" name="key" type="password" autocomplete="off"></details>
<button>Sign in</button></form>
<p>Users and keys are made on the cluster's machine: <code>raysift users add</code>, <code>raysift keys link</code>.</p>
</main></html>"""


AWAY = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Raysift</title><main style="font: 15px/1.5 sans-serif; max-width: 22rem; margin: 12vh auto">
The API does not answer. Start it with <code>raysift up</code>; this page then reloads itself.</main></html>"""


def token_of(cookies: dict[str, str]) -> str:
    """The session in a browser's cookies; empty if there is none."""
    token = cookies.get(COOKIE, "")
    return token if tokens.parse(token) else ""


class SignIn:
    """The routes /sign-in and /sign-out."""

    def __init__(self, api: Callable[[], httpx.AsyncClient]) -> None:
        """`api` returns a client with the API's base URL."""
        self._api = api

    @property
    def routes(self) -> list[Route]:
        """The routes of signing in and out."""
        return [
            Route(PATH, self.show, methods=["GET"]),
            Route(PATH, self.sign_in, methods=["POST"]),
            Route(OUT_PATH, self.sign_out, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page; with ?link=TOKEN it signs the browser in, if the one-time link is valid."""
        # not for HEAD, or a page that a browser or mail scanner fetches ahead: the link is valid once
        ahead = request.method != "GET" or "prefetch" in request.headers.get("sec-purpose", "")
        if (link := request.query_params.get("link")) and not ahead:
            return await self._begin(request, {"token": link}, "/")
        return _page(request, "", inside(request.query_params.get("next", "/")))

    async def sign_in(self, request: Request) -> Response:
        """Sign in with what the form holds: a name and password, or a key."""
        if not is_own(request):  # else a page of another site could sign a browser in as somebody else
            return PlainTextResponse("A page of another site may not sign you in.", 403)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return PlainTextResponse("too much for this form", 413)
        values = {name: value[0] for name, value in parse_qs(body.decode(errors="replace")).items()}
        next_path = inside(values.get("next", "/"))
        if values.get("key"):
            return await self._begin(request, {"token": values["key"].strip()}, next_path)
        given = {name: values.get(name, "") for name in ("name", "password")}
        if not all(given.values()):
            return _page(request, "Enter a name and a password, or a key.", next_path, 422)
        return await self._begin(request, given, next_path)

    async def sign_out(self, request: Request) -> Response:
        """End the session, of which the API forgets the token, and show the page."""
        token = token_of(request.cookies)
        if token and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            try:
                ended = await self._api().delete("/v1/session", headers=authorization(token, address_of(request)))
            except httpx.TransportError:
                return _page(request, "The API does not answer: you are still signed in.", "/", 502)
            if not ended.is_success and ended.status_code != 401:
                return _page(request, "Signing out failed: you are still signed in. Try again.", "/", 502)
            answer = _page(request, "You are signed out.", "/")
            answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
            return answer
        return RedirectResponse(PATH, 303)

    async def _begin(self, request: Request, given: dict[str, str], next_path: str) -> Response:
        try:
            answer = await self._api().post("/v1/session", json=given, headers=authorization("", address_of(request)))
        except httpx.TransportError:
            return _page(
                request, "The API does not answer. Wait until Raysift has started, then retry.", next_path, 502
            )
        if answer.status_code != 200:
            return _page(request, _sentence(answer), next_path, answer.status_code)
        response = RedirectResponse(next_path, 303, {"Cache-Control": "no-store"})
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        response.set_cookie(
            COOKIE, answer.json()["token"], COOKIE_S, path="/", secure=secure, httponly=True, samesite="lax"
        )
        return response


class SignInGuard:
    """ASGI middleware: only browsers that are signed in get anything but the page that signs in.

    A session is checked with the API, whose answer is kept for FRESH_S. While the API is away, a session that was valid
    before passes: every page then waits for the API, and shows nothing. Others see that it is away.
    """

    def __init__(self, app: ASGIApp, api: Callable[[], httpx.AsyncClient]) -> None:
        self.app = app
        self._api = api
        self._known: dict[str, float] = {}  # hash of a session -> when it was last valid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; else send a page to /sign-in, refuse others (401, 503), close a websocket (1008)."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            return await self.app(scope, receive, send)
        cookies = Request({**scope, "type": "http"}).cookies
        is_valid = await self._is_valid(token_of(cookies))
        if is_valid:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        request = Request(scope)
        if is_valid is None:
            return await HTMLResponse(AWAY, 503, _HEADERS)(scope, receive, send)
        if scope["method"] == "GET" and "text/html" in request.headers.get("accept", ""):
            to = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
            return await RedirectResponse(f"{PATH}?next={quote(to)}", 303)(scope, receive, send)
        await PlainTextResponse("You are not signed in.", 401)(scope, receive, send)

    async def _is_valid(self, token: str) -> bool | None:
        """Whether a session is valid; None: that cannot be told, as the API does not answer."""
        if not token:
            return False
        place, now = hashlib.sha256(token.encode()).hexdigest(), time.monotonic()
        if now - self._known.get(place, -FRESH_S) < FRESH_S:
            return True
        try:
            answer = await self._api().get("/v1/session", headers=authorization(token, ""))
        except httpx.TransportError:
            return True if place in self._known else None
        if answer.status_code == 401:
            self._known.pop(place, None)
            return False
        if answer.is_success:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[place] = now
        return True if place in self._known else None


def authorization(token: str, address: str) -> dict[str, str]:
    """The headers of a request to the API for a browser: its session, and its address for the audit log."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return headers | ({"X-Forwarded-For": address} if address else {})


def address_of(request: Request) -> str:
    """The address of a browser, as this server sees it."""
    return request.client.host if request.client else ""


def _page(request: Request, said: str, next_path: str, status: int = 200) -> HTMLResponse:
    shown = f'<p class="{"bad" if status != 200 else "good"}" role="status">{html.escape(said)}</p>' if said else ""
    return HTMLResponse(_PAGE.format(said=shown, next=html.escape(next_path, quote=True)), status, _HEADERS)


def _sentence(answer: httpx.Response) -> str:
    try:
        said = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "Signing in is not possible now. The API's log has the reason."
    return said[:1].upper() + said[1:].split(". Send a key")[0].rstrip(".") + "."


def inside(path: str) -> str:
    """A path of this app; / for an address elsewhere."""
    parts = urlsplit(path)
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if inside and path.isprintable() and "\\" not in path else "/"


def is_own(request: Request) -> bool:
    """Whether a form or a link is one of this app's pages, or was typed in."""
    if site := request.headers.get("sec-fetch-site"):
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
