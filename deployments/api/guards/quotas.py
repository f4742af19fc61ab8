"""Limits of what one key or user may take of this API process: requests, bytes, uploads and exports at a time."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.access.identity import Identity
from cluster.access.limits import Limits
from cluster.api_types import ProblemType
from deployments import problems
from deployments.problems import ProblemError

HOUR_S = 3600
BYTES_PER_GB = 10**9
MOST_KNOWN = 10_000  # callers in memory; of more, those are forgotten that have taken nothing lately
RETRY_ANALYSIS_S = 5.0  # an analysis takes a second to minutes
RETRY_EXPORT_S = 30.0  # an export of many files takes minutes


@dataclass(slots=True)
class _Bucket:
    """A token bucket: it is full at first, and fills up at a constant rate."""

    level: float
    at: float


class Rate:
    """So much per second of each caller, and so much at once after a pause."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._buckets: dict[str, _Bucket] = {}  # caller -> what is left; without an entry: all

    def take(self, caller: str, amount: float) -> float:
        """Take this amount, 0 is returned; or nothing, and the seconds to wait for it are returned.

        More than the bucket holds may be taken when it is full; it is then in debt.
        """
        bucket = self._bucket(caller)
        missing = min(amount, self._burst) - bucket.level
        if missing > 0:
            return missing / self._per_s
        bucket.level -= amount
        return 0.0

    def charge(self, caller: str, amount: float) -> None:
        """Take this amount, whatever is left."""
        self._bucket(caller).level -= amount

    def _bucket(self, caller: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= MOST_KNOWN:
                self._forget_full(now)
            bucket = self._buckets[caller] = _Bucket(self._burst, now)
        bucket.level, bucket.at = min(self._burst, bucket.level + (now - bucket.at) * self._per_s), now
        return bucket

    def _forget_full(self, now: float) -> None:
        level = lambda bucket: bucket.level + (now - bucket.at) * self._per_s  # noqa: E731
        for name in [name for name, bucket in self._buckets.items() if level(bucket) >= self._burst]:
            del self._buckets[name]


class Quotas:
    """Counts what each caller takes. ProblemError 429 with Retry-After for more than the limits; admins have none."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: the seconds that pass."""
        self._limits = limits
        self._requests = Rate(limits.requests_per_s, limits.burst, clock)
        a_hour = limits.upload_gb_per_hour * BYTES_PER_GB
        self._bytes = Rate(a_hour / HOUR_S, a_hour, clock)
        self._analyses: Counter[str] = Counter()  # uploads being received or analysed; without any: no entry
        self._exports: Counter[str] = Counter()  # exports being sent, and jobs being verified

    def most_jobs(self, who: Identity) -> int | None:
        """How many jobs of this caller may wait or run; None: any number."""
        return None if who.may("admin") else self._limits.jobs

    def count_request(self, who: Identity) -> None:
        """Count a request."""
        if who.may("admin"):
            return
        if wait_s := self._requests.take(who.owner, 1):
            reason = f"more than {self._limits.requests_per_s:g} requests per second of yours (limits.requests_per_s)"
            raise _refusal(reason, wait_s)

    @contextmanager
    def analysing(self, who: Identity, declared: int | None) -> Iterator[Callable[[int], None]]:
        """Count an upload until the block ends. `declared`: the bytes of its body, None if they are not known yet.

        Yields a function that counts bytes that have arrived; it counts them if they were not declared.
        """
        if who.may("admin"):
            yield lambda size: None
            return
        most, caller = self._limits.analyses, who.owner
        busy = _refusal(f"{most} uploads of yours are being analysed (limits.analyses)", RETRY_ANALYSIS_S)
        with _one_of(most, self._analyses, caller, busy):
            if wait_s := self._bytes.take(caller, declared or 0):
                reason = f"{self._limits.upload_gb_per_hour:g} GB of yours were uploaded within an hour"
                raise _refusal(f"{reason} (limits.upload_gb_per_hour)", wait_s)
            yield lambda size: self._bytes.charge(caller, size if declared is None else 0)

    @contextmanager
    def exporting(self, who: Identity) -> Iterator[None]:
        """Count an export, or the verification of a job, until the block ends."""
        if who.may("admin"):
            yield
            return
        most = self._limits.exports
        busy = _refusal(f"{most} exports or verifications of yours are in work (limits.exports)", RETRY_EXPORT_S)
        with _one_of(most, self._exports, who.owner, busy):
            yield


@contextmanager
def _one_of(most: int, running: Counter[str], caller: str, busy: ProblemError) -> Iterator[None]:
    """Count something that a caller does until the block ends; `busy` is raised if `most` of them are running."""
    if running[caller] >= most:
        raise busy
    running[caller] += 1
    try:
        yield
    finally:
        running[caller] -= 1
        if not running[caller]:
            del running[caller]


def _refusal(reason: str, wait_s: float) -> ProblemError:
    wait = math.ceil(wait_s)
    return ProblemError(ProblemType.QUOTA, 429, f"{reason}: try again in {wait} s", {"Retry-After": str(wait)})


# Serve pickles the application before a replica starts, so the quotas of this process are this module's.
_current: list[Quotas] = []


def set_quotas(quotas: Quotas) -> None:
    """Have requests counted here from now on. An API calls it when it starts."""
    _current[:] = [quotas]


class RequestRate:
    """ASGI middleware behind the authentication: answers with 429 who asks more often than the limits allow."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        identity = scope.get("state", {}).get("identity")
        if scope["type"] == "http" and identity is not None and _current:
            try:
                _current[0].count_request(identity)
            except ProblemError as error:
                await problems.refusal(scope, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
