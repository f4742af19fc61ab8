"""The deployment that owns keys, users, cases and the audit log. It runs on the head, where their files are."""

import asyncio
import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cluster.access import passwords, tokens
from cluster.access.api_types import OidcCallback, OidcProvider, OidcStart
from cluster.access.audit import NOBODY, Audit
from cluster.access.credential import ensure_operator_key, open_store, store_file
from cluster.access.holds import Hold, Holds
from cluster.access.identity import Identity, Role
from cluster.access.pictures import PictureKeeper
from cluster.access.store import Key, Refused, UnknownToken, User
from cluster.cases.store import CaseStore
from cluster.errors import SettingsError
from cluster.exposure.exposure import Exposure
from cluster.exposure.store import ExposureStore
from cluster.logs import setup
from cluster.settings import Settings
from deployments.access.bearer import BearerTokens
from deployments.access.cases import CaseKeeper
from deployments.access.custody import CustodyReader
from deployments.access.oidc_sign_in import OidcSignIn
from deployments.access.refusals import ProviderDown, TokenRefused, Unmapped

log = logging.getLogger(__name__)

MOST_FAILURES, WITHIN_S = 5, 300.0  # failed passwords of one name, before it has to wait
SIGNED_S = 300.0  # how long a signed URL is valid
MOST_HASHING, BUSY_S = 4, 0.5  # passwords that are looked at together, and how long another one waits for its turn
MOST_NAMES, RECORD_EVERY_S = 10_000, 60.0
BUSY = "too many people sign in at the moment: try again"
TOO_MANY = "too many failed attempts with this name: try again in five minutes"
WRONG = "name or password is wrong"
NO_JWT = "JWTs are not accepted here: an admin names the audiences of those that are in the setting oidc.audiences"
NO_PROVIDER = "no OpenID Connect provider is set here: an admin sets one in the settings, under oidc"
UNMAPPED = "none of your groups may use Raysift: ask an admin to give one of them a role, in the setting oidc.roles"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose token it is, or why it is refused. `token`: of a new session. `status`: of HTTP, for a refusal.

    `ends_at`: when the token ends by itself, in seconds since 1970; None: it is asked for again soon enough.
    """

    identity: Identity | None = None
    reason: str = ""
    token: str = ""
    status: int = 401
    ends_at: float | None = None


class Access(CaseKeeper, CustodyReader, PictureKeeper):
    """Answers the API's questions about tokens, owns the cases and the audit log, and keeps pictures to search by.

    Methods may be called from several threads. A refusal is a value and no exception: Ray would wrap that, and log it
    with a traceback.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._store = open_store(settings)
        setup.join_serve()
        self._cases = CaseStore(store_file(settings))
        self._exposure = ExposureStore(store_file(settings))
        self._state_dir = settings.state_dir
        self._audit = Audit(settings.state_dir)
        self._holds = Holds(settings.state_dir)
        self._secret = tokens.signing_secret(settings.state_dir)
        ensure_operator_key(settings, self._store)
        self._attempts: dict[str, list[float]] = defaultdict(list)  # name -> when a password was tried
        self._recorded: dict[tuple[str, str], float] = {}  # name, reason -> when such a failure was recorded last
        self._counting = threading.Lock()
        self._hashing = threading.BoundedSemaphore(MOST_HASHING)
        self._digest = settings.oidc.digest if settings.oidc else None
        self._store.end_oidc_sessions(but_of=self._digest)
        self._host = settings.oidc.host if settings.oidc else ""
        self._oidc = OidcSignIn(settings.oidc, self._secret) if settings.oidc else None
        self._bearers: BearerTokens | None = None
        if settings.oidc and self._oidc and settings.oidc.audiences:
            self._bearers = BearerTokens(settings.oidc, self._oidc.provider, self._store, self._audit)

    def identify(self, text: str) -> Verdict:
        """Whose key or session a bearer token is."""
        token = tokens.parse(text)
        if token is None:
            return Verdict(reason="this is no key of Raysift: it begins with rs_")
        try:
            return Verdict(self._store.identify(token))
        except Refused as error:
            return Verdict(reason=str(error))

    async def identify_jwt(self, text: str, where: str) -> Verdict:
        """Whose JWT of the OpenID Connect provider a bearer token is. `where`: the address that it comes from."""
        if self._bearers is None:
            return Verdict(reason=NO_JWT)
        try:
            who, ends_at = await self._bearers.identify(text, where)
        except (TokenRefused, Refused) as error:
            return Verdict(reason=str(error))
        except Unmapped as error:
            return await self._unmapped(error, where)
        except ProviderDown as error:
            log.warning("the OpenID Connect provider: %s", error)
            return Verdict(reason=f"tokens of {self._host} cannot be checked now: see the log of access", status=503)
        return Verdict(who, ends_at=ends_at)

    def identify_signed(self, id: str, path: str, expires_at: int, signature: str) -> Verdict:
        """Whose signed URL it is."""
        if not tokens.signed(self._secret, id, path, expires_at, signature):
            return Verdict(reason="the signature of this address is wrong")
        if expires_at < time.time():
            return Verdict(reason="this address has expired")
        try:
            return Verdict(self._store.identity(id))
        except Refused as error:
            return Verdict(reason=str(error))

    def signed_query(self, id: str, path: str) -> str:
        """The query string with which whoever has the key or session `id` may GET this path for SIGNED_S."""
        expires_at = int(time.time() + SIGNED_S)
        return f"id={id}&expires={expires_at}&signature={tokens.sign(self._secret, id, path, expires_at)}"

    # ---- sessions

    def sign_in(self, name: str, password: str, where: str) -> Verdict:
        """A session for a user with this password."""
        if not self._may_try(name):
            return self._failed_again(NOBODY, name, where, TOO_MANY)
        if not self._hashing.acquire(timeout=BUSY_S):  # each takes 64 MiB
            return Verdict(reason=BUSY)
        try:
            matches = passwords.matches(password, self._store.password_of(name))
        finally:
            self._hashing.release()
        if not matches:
            return self._failed(name, where, WRONG)
        with self._counting:
            self._attempts.pop(name, None)
        return self._begin(f"user:{name}", self._store.start_session(f"user:{name}"), where)

    def sign_in_with(self, text: str, where: str) -> Verdict:
        """A session for whoever has this key, or this one-time link."""
        token = tokens.parse(text)
        if token is None:
            return Verdict(reason="this is no key of Raysift: it begins with rs_")
        try:
            try:
                return self._begin(f"link:{token.id}", self._store.redeem(token), where)
            except UnknownToken:
                self._store.identify_key(token)
            return self._begin(f"key:{token.id}", self._store.start_session(f"key:{token.id}"), where)
        except UnknownToken as error:
            # nobody guesses one, but anybody can invent many: they must not fill the disk with records
            return self._failed_again(NOBODY, "an unknown key", where, str(error))
        except Refused as error:
            return self._failed(token.id, where, str(error))

    def sign_out(self, who: Identity, where: str) -> None:
        """End a session. A key stays valid."""
        self._store.end_session(who.id, partial(self._audit.record, who, "signed out", where=where))

    async def oidc_provider(self) -> OidcProvider | None:
        """The OpenID Connect provider of the settings."""
        if self._oidc is None:
            return None
        try:
            return OidcProvider(host=self._host, sign_out_url=await self._oidc.provider.sign_out_url())
        except ProviderDown:
            return OidcProvider(host=self._host, sign_out_url=None)

    async def begin_oidc(self, redirect_uri: str) -> OidcStart | Verdict:
        """Where a browser goes to sign in at the provider."""
        if self._oidc is None:
            return Verdict(reason=NO_PROVIDER, status=404)
        try:
            return await self._oidc.begin(redirect_uri)
        except TokenRefused as error:
            return Verdict(reason=str(error), status=422)
        except ProviderDown as error:
            return self._provider_down(error)

    async def sign_in_oidc(self, given: OidcCallback, where: str) -> Verdict:
        """A session for whoever has come back from the provider."""
        if self._oidc is None:
            return Verdict(reason=NO_PROVIDER, status=404)
        try:
            who = await self._oidc.finish(given)
        except TokenRefused as error:
            return await asyncio.to_thread(self._failed_again, NOBODY, self._host, where, str(error))
        except Unmapped as error:
            return await self._unmapped(error, where)
        except (ProviderDown, SettingsError) as error:
            return self._provider_down(error)
        return await asyncio.to_thread(self._begin_oidc, who, where)

    def _begin_oidc(self, who: Identity, where: str) -> Verdict:
        session = self._store.start_oidc_session(who, str(self._digest))
        return self._begin(who.holder, session, where)

    async def _unmapped(self, error: Unmapped, where: str) -> Verdict:
        verdict = await asyncio.to_thread(self._failed_again, error.who, error.who.subject, where, UNMAPPED)
        return replace(verdict, status=403)

    def _provider_down(self, error: Exception) -> Verdict:
        log.warning("the OpenID Connect provider: %s", error)
        return Verdict(reason=f"signing in with {self._host} is not possible now: see the log of access", status=503)

    def _begin(self, holder: str, session: tokens.Token, where: str) -> Verdict:
        who = self._store.identify(session)
        self._audit.record(who, "signed in", holder, where)
        return Verdict(who, token=str(session))

    def _failed(self, name: str, where: str, reason: str, who: Identity = NOBODY) -> Verdict:
        self._audit.record(who, "sign-in failed", name, where, reason=reason)
        return Verdict(reason=reason)

    def _failed_again(self, who: Identity, name: str, where: str, reason: str) -> Verdict:
        """A failure that may come very often: it is recorded once a minute for a name and reason."""
        now = time.monotonic()
        with self._counting:
            self._recorded = {key: at for key, at in self._recorded.items() if now - at < RECORD_EVERY_S}
            is_new = (name, reason) not in self._recorded
            self._recorded.setdefault((name, reason), now)
        return self._failed(name, where, reason, who) if is_new else Verdict(reason=reason)

    def _may_try(self, name: str) -> bool:
        """Count an attempt with this name, before its password is looked at; False if there were too many."""
        with self._counting:
            if len(self._attempts) > MOST_NAMES:  # names are invented: forget them, rather than fill the memory
                self._attempts.clear()
            recent = [at for at in self._attempts[name] if at > time.monotonic() - WITHIN_S]
            self._attempts[name] = recent
            if len(recent) >= MOST_FAILURES:
                return False
            recent.append(time.monotonic())
            return True

    # ---- keys

    def keys(self) -> list[Key]:
        """All keys, oldest first."""
        return self._store.list_keys()

    def users(self) -> list[User]:
        """The people who sign in with a password, by name."""
        return self._store.users()

    def holds(self) -> list[Hold]:
        """The legal holds, oldest first. SettingsError if their file cannot be read."""
        return self._holds.all()

    def add_key(
        self,
        who: Identity,
        name: str,
        role: Role,
        prefixes: tuple[str, ...] | None,
        expires_at: float | None,
        where: str,
    ) -> tuple[str, str]:
        """Make a key; returns its id and its token."""

        def record(made: tokens.Token) -> None:
            self._audit.record(who, "key made", made.id, where, name=name, for_role=role, under=prefixes)

        token = self._store.add_key(name, role, prefixes, expires_at, record=record)
        return token.id, str(token)

    def revoke(self, who: Identity, id: str, where: str) -> bool:
        """End a key and its sessions. False if there is no valid one of that id."""
        return self._store.revoke(id, partial(self._audit.record, who, "key revoked", id, where))

    # ---- what somebody sees of explicit media

    def exposure(self, who: Identity) -> Exposure | None:
        """What somebody chose, in whichever session; None: nothing."""
        return self._exposure.get(who.owner)

    def set_exposure(self, who: Identity, chosen: Exposure) -> None:
        """Store what somebody chose."""
        self._exposure.set(who.owner, chosen)

    # ---- audit

    def record(self, who: Identity, what: str, of: str = "", where: str = "", **more: Any) -> None:
        """Append to the audit log; on disk when this returns."""
        self._audit.record(who, what, of, where, **more)
