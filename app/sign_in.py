"""Signing in to the app: its page, its cookie, and a guard in front of everything else that the app serves.

The cookie holds a session of the API, which scripts of a page cannot read. The app keeps no sessions and has no key of
its own: it asks the API with the session of whoever looks, so that a page shows what that person may see.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.forms import API_AWAY, address_in_app, read_form
from app.language.texts import _
from app.oidc import OidcRoutes, is_https
from app.sign_in_page import HEADERS, OIDC_PATH, PATH, away, inside, page, sentence
from cluster.access import tokens
from cluster.access.oidc import CALLBACK_PATH

COOKIE = "raysift_session"
COOKIE_S = 12 * 3600  # as long as a session of the API
OUT_PATH = "/sign-out"
OPEN = (PATH, OIDC_PATH, CALLBACK_PATH, "/_stcore/health")  # the last one for probes
FRESH_S = 5.0  # how long a session that was checked is trusted
MOST_KNOWN = 10_000


def token_of(cookies: dict[str, str]) -> str:
    """The session in a browser's cookies; empty if there is none."""
    token = cookies.get(COOKIE, "")
    return token if tokens.parse(token) else ""


class SignIn:
    """The routes /sign-in, /sign-out, and those of an OpenID Connect provider."""

    def __init__(self, api: Callable[[], httpx.AsyncClient]) -> None:
        """`api` returns a client with the API's base URL."""
        self._api = api
        self._oidc = OidcRoutes(api, self._begin, self._page)

    @property
    def routes(self) -> list[Route]:
        """The routes of signing in and out."""
        return [
            *self._oidc.routes,
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
        return await self._page("", inside(request.query_params.get("next", "/")))

    async def sign_in(self, request: Request) -> Response:
        """Sign in with what the form holds: a name and password, or a key."""
        if not is_own(request):  # else a page of another site could sign a browser in as somebody else
            return PlainTextResponse(_("A page of another site may not sign you in."), 403)
        values = await read_form(request)
        next_path = inside(values.get("next", "/"))
        if values.get("key"):
            return await self._begin(request, {"token": values["key"].strip()}, next_path)
        given = {name: values.get(name, "") for name in ("name", "password")}
        if not all(given.values()):
            return await self._page(_("Enter a name and a password, or a key."), next_path, 422)
        return await self._begin(request, given, next_path)

    async def sign_out(self, request: Request) -> Response:
        """End the session, of which the API forgets the token, and show the page."""
        token = token_of(request.cookies)
        if token and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            try:
                ended = await self._api().delete("/v1/session", headers=authorization(token, address_of(request)))
            except httpx.TransportError:
                return await self._page(_("The API does not answer: you are still signed in."), "/", 502)
            if not ended.is_success and ended.status_code != 401:
                return await self._page(_("Signing out failed: you are still signed in. Try again."), "/", 502)
            answer = await self._page(_("You are signed out."), "/", signed_out=True)
            answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
            return answer
        return RedirectResponse(PATH, 303)

    async def _begin(self, request: Request, given: dict[str, Any], next_path: str) -> Response:
        try:
            answer = await self._api().post("/v1/session", json=given, headers=authorization("", address_of(request)))
        except httpx.TransportError:
            return await self._page(_(API_AWAY), next_path, 502)
        if answer.status_code != 200:
            return await self._page(sentence(answer), next_path, answer.status_code)
        response = RedirectResponse(next_path, 303, {"Cache-Control": "no-store"})
        secure, token = is_https(request), answer.json()["token"]
        response.set_cookie(COOKIE, token, COOKIE_S, path="/", secure=secure, httponly=True, samesite="lax")
        return response

    async def _page(self, said: str, next_path: str, status: int = 200, signed_out: bool = False) -> Response:
        provider = await self._oidc.provider()
        sign_out_url = provider.get("sign_out_url") if signed_out else None
        return page(said, next_path, status, provider.get("host", ""), sign_out_url or "")


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
            return await HTMLResponse(away(), 503, HEADERS)(scope, receive, send)
        if scope["method"] == "GET" and "text/html" in request.headers.get("accept", ""):
            to = quote(address_in_app(request))
            return await RedirectResponse(f"{PATH}?next={to}", 303)(scope, receive, send)
        await PlainTextResponse(_("You are not signed in."), 401)(scope, receive, send)

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


def is_own(request: Request) -> bool:
    """Whether a form or a link is one of this app's pages, or was typed in."""
    if site := request.headers.get("sec-fetch-site"):
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")
