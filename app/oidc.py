"""Signing in to the app with an OpenID Connect provider: the way there and back.

The API knows the provider, and checks what it sends. The app keeps the `flow` of a sign-in in a cookie, so that only
the browser that began it can finish it.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.forms import API_AWAY
from app.language.texts import N_, _
from app.sign_in_page import OIDC_PATH, inside, sentence
from cluster.access.oidc import CALLBACK_PATH, FLOW_S

COOKIE = "raysift_oidc"
KNOWN_S, AWAY_S = 60.0, 5.0  # how long the API's answer about the provider is kept, and that it did not answer
WAIT_S = 3.0  # for that answer: the page can do without it
MOST_NEXT = 2000  # characters of an address to return to, as cookies hold 4096
STALE = N_(
    "This sign-in took longer than ten minutes, was used before, or was not begun in this browser. Begin it again."
)

Begin = Callable[[Request, dict[str, Any], str], Awaitable[Response]]
Page = Callable[[str, str, int], Awaitable[Response]]


class OidcRoutes:
    """The routes /sign-in/oidc, which leads to the provider, and /sign-in/oidc/callback, to which it leads back."""

    def __init__(self, api: Callable[[], httpx.AsyncClient], begin: Begin, page: Page) -> None:
        """`begin` signs in at the API and sets the session's cookie; `page` shows the sign-in page with a sentence."""
        self._api, self._begin, self._page = api, begin, page
        self._provider: dict[str, Any] = {}
        self._asked_until = 0.0

    @property
    def routes(self) -> list[Route]:
        """The two routes."""
        return [Route(OIDC_PATH, self.start, methods=["GET"]), Route(CALLBACK_PATH, self.callback, methods=["GET"])]

    async def provider(self) -> dict[str, Any]:
        """The provider as cluster.access.api_types.OidcProvider has it; empty if none is set, or the API is away."""
        if time.monotonic() >= self._asked_until:
            try:
                answer = await self._api().get("/v1/oidc", timeout=WAIT_S)
                self._provider = answer.json() if answer.status_code == 200 else {}
                kept_s = KNOWN_S if answer.status_code in (200, 404) else AWAY_S
            except (httpx.TransportError, ValueError):
                self._provider, kept_s = {}, AWAY_S
            self._asked_until = time.monotonic() + kept_s
        return self._provider

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        next_path = inside(request.query_params.get("next", "/"))
        if request.method != "GET" or "prefetch" in request.headers.get("sec-purpose", ""):
            return Response(status_code=204)
        try:
            answer = await self._api().post("/v1/oidc", json={"redirect_uri": _callback(request)})
        except httpx.TransportError:
            return await self._page(_(API_AWAY), next_path, 502)
        if answer.status_code != 200:
            return await self._page(sentence(answer), next_path, answer.status_code)
        begun = answer.json()
        response = RedirectResponse(begun["url"], 303, {"Cache-Control": "no-store"})
        value = f"{begun['flow']}|{quote(next_path if len(next_path) <= MOST_NEXT else '/', safe='')}"
        response.set_cookie(
            COOKIE, value, FLOW_S, path=OIDC_PATH, secure=is_https(request), httponly=True, samesite="lax"
        )
        return response

    async def callback(self, request: Request) -> Response:
        """Sign in with what the provider sent, in the browser that began."""
        flow, _bar, kept = request.cookies.get(COOKIE, "").partition("|")
        next_path, sent = inside(unquote(kept) or "/"), request.query_params
        if not flow:
            return await self._page(_(STALE), "/", 401)
        if "code" not in sent:  # its description is not shown: whoever made this address wrote it
            code = re.fullmatch(r"[a-z_]{1,40}", sent.get("error", ""))
            said = _("The provider did not sign you in.")
            if code:
                said = _("The provider did not sign you in: {code}.", code=code[0])
            return await self._page(said, next_path, 401)
        given = {
            "code": sent["code"],
            "state": sent.get("state", "-"),
            "flow": flow,
            "redirect_uri": _callback(request),
        }
        response = await self._begin(request, {"oidc": given}, next_path)
        if response.status_code == 303:  # not before: an address made by somebody else must not end a sign-in
            response.delete_cookie(COOKIE, path=OIDC_PATH, httponly=True, samesite="lax")
        return response


def is_https(request: Request) -> bool:
    """Whether the browser uses HTTPS, here or at the proxy in front."""
    return "https" in (request.scope["scheme"], request.headers.get("x-forwarded-proto"))


def _callback(request: Request) -> str:
    """The address to which the provider leads back. HostGuard has checked the host's name."""
    return f"{'https' if is_https(request) else 'http'}://{request.headers.get('host', '')}{CALLBACK_PATH}"
