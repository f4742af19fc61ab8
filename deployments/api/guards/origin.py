"""Checks of Host and Origin: which host names the API answers to, and which pages may change something through it.

A page of another site must not reach it by a name that it lets point to 127.0.0.1 (DNS
rebinding: TrustedHosts refuses its Host), nor start work by a form that it sends to our address (cross-site request
forgery: OwnOrigin refuses its Origin). curl and Python programs send no Origin.
"""

import re

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.settings import Settings
from deployments import problems

LOOPBACK = ("127.0.0.1", "localhost")
HOSTS = [*LOOPBACK]  # host names that requests may be addressed to; an API adds its own
ORIGINS: set[str] = set()  # host:port of pages that may ask beside the API's own; a name without port: on any port
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # they change nothing (RFC 9110, 9.2.1)


def answer_to(settings: Settings) -> None:
    """Accept requests to the host names of these settings, from pages of the API and of the app.

    An API calls this when it starts. Serve pickles the application before that, so the two lists are this module's.
    """
    HOSTS.extend(name.lower() for name in (settings.api.host, *settings.api.names))
    for listener in (settings.api, settings.app):
        ORIGINS.update(listener.names)
        ORIGINS.update(f"{host}:{listener.port}" for host in (*LOOPBACK, listener.host.lower()))


class TrustedHosts(TrustedHostMiddleware):
    """Refuses with 400 a request that is addressed to a name outside HOSTS."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compare with HOSTS as it is now: an API adds to it after this was made."""
        self.allowed_hosts = HOSTS
        await super().__call__(scope, receive, send)


class OwnOrigin:
    """Refuses with 403 a request that would change something and comes from a page of another site."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and _is_foreign(Headers(scope=scope)):
            detail = (
                "a page of another site may not do this. If the page is Raysift's own, add its host name to api.names "
                "or app.names."
            )
            await problems.answer(scope, 403, detail)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    origins = headers.getlist("origin")
    if not origins:  # not from a page, or from a browser that sends Sec-Fetch-Site instead
        return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if len(origins) > 1:
        return True
    parts = re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[^/:\[\]]+)(:[0-9]+)?", origins[0].lower())
    if parts is None:  # "null" among others: a sandboxed frame, a local file
        return True
    host = parts[1].strip("[]")
    place = f"{parts[1]}{parts[2] or ''}"
    return place != headers.get("host", "").lower() and not {host, f"{host}{parts[2] or ''}"} & ORIGINS
