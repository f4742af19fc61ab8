"""Signing in through an OpenID Connect provider, by the authorization code flow with PKCE, state and nonce.

A sign-in begins with a random `flow`, which the app keeps in a cookie of the browser. State, nonce and code verifier
are made from it and from a secret of the head, so that nothing is stored until somebody has signed in, and a code is of
use only in the browser that asked for it.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from typing import Any

import httpx

from cluster.access.api_types import OidcCallback, OidcStart
from cluster.access.identity import Identity
from cluster.access.oidc import CALLBACK_PATH, FLOW_S, Oidc, display_name
from deployments.access.provider import Provider
from deployments.access.refusals import TokenRefused, Unmapped

STALE = (
    "this sign-in was used before, took longer than ten minutes, or was not begun in this browser. Begin it again on "
    "the app's sign-in page"
)
_FLOW = re.compile(r"(\d{1,12})\.[\w-]{43}", re.ASCII)
_REDIRECT = re.compile(rf"https?://[^/?#\s]+{CALLBACK_PATH}")


def identity_of(claims: dict[str, Any], settings: Oidc) -> Identity:
    """Whom the checked claims of a token name, with the role of their groups. Unmapped."""
    name, holder = display_name(claims), f"oidc:{settings.issuer} {claims['sub']}"
    rights = settings.rights(claims)
    if rights is None:
        raise Unmapped(Identity(name, "viewer", (), holder=holder))
    return Identity(name, rights.role, rights.under, holder=holder)


class OidcSignIn:
    """Begins and finishes sign-ins. Its methods are to be called from one event loop."""

    def __init__(self, settings: Oidc, secret: bytes, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`secret`: of the head; a sign-in that was begun with another one is refused. `transport`: to the provider."""
        self._settings = settings
        self._secret = secret
        self.provider = Provider(settings, transport)
        self._used: dict[str, float] = {}  # state of a sign-in that succeeded -> when

    async def begin(self, redirect_uri: str) -> OidcStart:
        """The address at the provider, and the flow to keep in the browser. ProviderDown, TokenRefused."""
        if not _REDIRECT.fullmatch(redirect_uri):
            raise TokenRefused(f"redirect_uri has to be a URL of the app that ends with {CALLBACK_PATH}")
        flow = f"{int(time.time() + FLOW_S)}.{secrets.token_urlsafe(32)}"
        state, nonce, verifier = self._made_from(flow, redirect_uri)
        return OidcStart(url=await self.provider.authorization_url(redirect_uri, state, nonce, verifier), flow=flow)

    async def finish(self, given: OidcCallback) -> Identity:
        """Who has signed in at the provider, with their role.

        TokenRefused, Unmapped, ProviderDown, or SettingsError if the client's secret cannot be read.
        """
        state, nonce, verifier = self._made_from(given.flow, given.redirect_uri)
        parts, now = _FLOW.fullmatch(given.flow), time.time()
        if not hmac.compare_digest(state.encode(), given.state.encode(errors="replace")) or parts is None:
            raise TokenRefused(STALE)
        if int(parts[1]) < now or state in self._used:
            raise TokenRefused(STALE)
        claims = await self.provider.claims(given.code, given.redirect_uri, nonce, verifier)
        self._used = {used: at for used, at in self._used.items() if now - at < FLOW_S}
        if state in self._used:  # a second request with the same code, at the same time
            raise TokenRefused(STALE)
        self._used[state] = now
        return identity_of(claims, self._settings)

    def _made_from(self, flow: str, redirect_uri: str) -> tuple[str, str, str]:
        """State, nonce and code verifier of a flow, 64 characters each."""

        def made(what: str) -> str:
            message = json.dumps(["raysift oidc", what, flow, redirect_uri])
            return hmac.new(self._secret, message.encode(), hashlib.sha256).hexdigest()

        return made("state"), made("nonce"), made("verifier")
