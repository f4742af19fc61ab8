"""JWTs of an OpenID Connect provider that programs send with each request, instead of a key of Raysift.

Each is a session of its own from its first use until it expires, under a hash of it: so signed addresses, the audit log
and `raysift keys revoke` know it as they know every other session.
"""

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace

from cluster.access import tokens
from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.access.oidc import Oidc
from cluster.access.store import AccessStore, UnknownToken
from deployments.access.oidc_sign_in import identity_of
from deployments.access.provider import Provider
from deployments.access.refusals import ProviderDown

WITHIN_S = 3.0  # below the API's patience with the head: a provider that hangs must not look like a head that is away


class BearerTokens:
    """Knows whose JWTs they are. Its methods are to be called from one event loop."""

    def __init__(self, settings: Oidc, provider: Provider, store: AccessStore, audit: Audit) -> None:
        """`settings` have audiences."""
        self._settings, self._provider, self._store, self._audit = settings, provider, store, audit

    async def identify(self, text: str, where: str) -> tuple[Identity, float]:
        """Whose JWT it is, and until when (seconds since 1970). The first use is recorded, as from the address `where`.

        TokenRefused, ProviderDown, Unmapped; Refused if it was revoked.
        """
        try:
            async with asyncio.timeout(WITHIN_S):
                claims, ends_at = await self._provider.bearer_claims(text)
        except TimeoutError:
            raise ProviderDown("it did not answer in time about the key of a JWT") from None
        who = identity_of(claims, self._settings)
        return await asyncio.to_thread(self._session, who, text, ends_at, where), ends_at

    def _session(self, who: Identity, text: str, ends_at: float, where: str) -> Identity:
        token = tokens.of_jwt(text)
        try:
            return self._store.identify(token)
        except UnknownToken:  # recorded first, so that no session is missing in the log
            self._audit.record(replace(who, id=token.id), "signed in", who.holder, where, by="JWT")
        with suppress(sqlite3.IntegrityError):  # another request with it came first
            self._store.start_oidc_session(who, self._settings.digest, token, ends_at)
        return self._store.identify(token)
