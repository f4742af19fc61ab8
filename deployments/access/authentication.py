"""Authentication of every request to the API, before its body is read and before there is a route."""

import asyncio
import hashlib
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qs

from fastapi import HTTPException
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.access.identity import Identity
from deployments import problems
from deployments.access.client_address import address
from deployments.access.service import Verdict

log = logging.getLogger(__name__)

OPEN = ("/v1/health", "/v1/ready", "/v1/session", "/v1/oidc")  # they answer without a key too: probes, and signing in
NEVER_CHECKED = ("/v1/health",)  # liveness depends on no other process
FRESH_S = 5.0  # how long a checked token is trusted: a revoked key is refused after this time at most
STALE_S = 900.0  # the same while the head does not answer, where keys are revoked: detectors go on without it
MOST_KNOWN = 10_000  # tokens in memory
ASK_S = 5.0  # for the head's answer about a token that nothing is known of
PATIENT_S = 1.0  # the same for a token that was valid a moment ago: then it is still taken for valid

_SIGNED = re.compile(r"/v1/assets/[0-9a-f]{32}/(media|thumbnail)")
HOW = (
    "Send a key as `Authorization: Bearer rs_...`. `raysift keys add NAME` makes one on the cluster's head; commands "
    "take it from RAYSIFT_KEY"
)
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}  # of a refusal, by its status


class Refusal(Exception):
    """The request is not answered: its HTTP status, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Identifies(Protocol):
    """What knows whose request it is."""

    async def identify(self, scope: Scope) -> Identity | None:
        """Whose request it is; None if it shows nothing. Refusal if what it shows is not valid."""


class Verifier:
    """Asks the head whose token it is, and keeps the answer for FRESH_S. Only hashes of tokens stay in memory."""

    def __init__(self, access: Any, clock: Callable[[], float] = time.monotonic) -> None:
        """`access`: the handle of the deployment Access. `clock`: the seconds that pass."""
        self._access = access
        self._clock = clock
        # hash -> whose, when that was checked, and until when that may be relied on
        self._known: dict[str, tuple[Identity, float, float]] = {}
        self._asked: dict[str, asyncio.Task[Identity]] = {}  # questions without an answer yet
        self._away_until = -math.inf  # the head did not answer: it is not asked again until then about known tokens

    async def identify(self, scope: Scope) -> Identity | None:
        """As Identifies."""
        header = Headers(scope=scope).get("authorization")
        if header:
            kind, _, token = header.partition(" ")
            if kind.lower() != "bearer":
                raise Refusal(401, f"Authorization has to be `Bearer` and a key. {HOW}.")
            token = token.strip()
            if token.count(".") == 2:  # a JWT: keys of Raysift have no dots
                where = address(HTTPConnection(scope))
                return await self._of("jwt", token, lambda: self._access.identify_jwt.remote(token, where))
            return await self._of("bearer", token, lambda: self._access.identify.remote(token))
        if scope["query_string"] and _SIGNED.fullmatch(scope["path"]) and scope["method"] in ("GET", "HEAD"):
            return await self._signed(scope["path"], scope["query_string"].decode("latin-1"))
        return None

    async def _signed(self, path: str, query: str) -> Identity | None:
        values = {name: value[0] for name, value in parse_qs(query).items()}
        id, expires, signature = (values.get(name, "") for name in ("id", "expires", "signature"))
        if not signature:
            return None
        if not re.fullmatch(r"\d{1,12}", expires):
            raise Refusal(401, "the signature of this address is wrong. Ask for a new one.")
        if int(expires) < time.time():  # also between two questions to the head
            raise Refusal(401, "this address has expired. Ask for a new one.")
        shown = f"{path} {id} {expires} {signature}"
        return await self._of(
            "signed", shown, lambda: self._access.identify_signed.remote(id, path, int(expires), signature)
        )

    async def _of(self, kind: str, shown: str, ask: Callable[[], Awaitable[Verdict]]) -> Identity:
        # with its kind: a signed address in the header must not be taken for the key of whoever signed it
        place = hashlib.sha256(f"{kind}\0{shown}".encode()).hexdigest()
        identity, age_s = self._remembered(place)
        if identity and (age_s < FRESH_S or self._clock() < self._away_until):
            return identity
        if place not in self._asked:  # one question, however many requests come with a token at a time
            task = asyncio.ensure_future(self._ask(place, ask))
            self._asked[place] = task
            task.add_done_callback(lambda task: (self._asked.pop(place, None), task.cancelled() or task.exception()))
        task = self._asked[place]
        if identity:
            await asyncio.wait({task}, timeout=PATIENT_S)
            if not task.done():
                return identity
        return await asyncio.shield(task)

    def _remembered(self, place: str) -> tuple[Identity | None, float]:
        """Whose token it was when that was last checked, and how long ago; None after STALE_S, or the token's end."""
        known, now = self._known.get(place), self._clock()
        if known is None:
            return None, math.inf
        identity, checked_at, until = known
        return (identity if now < until else None), now - checked_at

    async def _ask(self, place: str, ask: Callable[[], Awaitable[Verdict]]) -> Identity:
        try:
            verdict = await asyncio.wait_for(ask(), ASK_S)
        except RayTaskError:  # the head answers, with a fault of its own
            log.exception("keys cannot be checked")
            raise Refusal(503, "keys cannot be checked: the log of the deployment access has the reason.") from None
        except (TimeoutError, HTTPException, RayError, RayServeException) as error:
            self._away_until = self._clock() + FRESH_S
            identity, _ = self._remembered(place)
            if identity:
                return identity
            log.warning("keys cannot be checked: %s", type(error).__name__)
            raise Refusal(503, "keys cannot be checked while the cluster's head is away: try again later.") from None
        if verdict.identity is None:
            self._known.pop(place, None)
            how = f" {HOW}." if verdict.status == 401 else ""
            raise Refusal(verdict.status, f"{verdict.reason}.{how}")
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        now = self._clock()
        left_s = STALE_S if verdict.ends_at is None else min(STALE_S, verdict.ends_at - time.time())
        self._known[place] = verdict.identity, now, now + left_s
        return verdict.identity


# Serve pickles the application before a replica starts, so what identifies requests is this module's.
_current: list[Identifies] = []


def use(identifies: Identifies) -> None:
    """Have requests identified by this from now on. An API calls it when it starts."""
    _current[:] = [identifies]


class Authentication:
    """ASGI middleware: only requests with a valid key, session or signature pass, except those to OPEN.

    It puts the Identity into the request's state, where the routes' roles (roles.py) find it; None: nobody's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 401 or 503."""
        if scope["type"] != "http" or scope["path"] in NEVER_CHECKED:
            await self.app(scope, receive, send)
            return
        try:
            if not _current:
                raise Refusal(503, "the API is starting: try again in a moment.")
            identity = await _current[0].identify(scope)
            if identity is None and scope["path"] not in OPEN:
                raise Refusal(401, f"this needs a key. {HOW}.")
        except Refusal as refusal:
            refused = problems.answer(scope, refusal.status, str(refusal), _HEADERS.get(refusal.status))
            await refused(scope, receive, send)
            return
        scope.setdefault("state", {})["identity"] = identity
        await self.app(scope, receive, send)
