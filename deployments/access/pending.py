"""Records of the audit log that wait for the head, where the log is: uploads are analysed while it is away."""

import asyncio
import logging
import math
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from cluster.access.identity import Identity

log = logging.getLogger(__name__)

AGAIN_S = 5.0  # after a failure, until the next attempt: requests do not wait for the head meanwhile
MOST = 10_000  # in memory; then requests are refused until the head is back


class PendingRecords:
    """Writes records in their order, now or with a later one. Those of an API process that ends meanwhile are lost."""

    def __init__(self, access: Any) -> None:
        """`access`: the handle of the deployment Access."""
        self._access = access
        self._writing = asyncio.Lock()
        self._away_until = -math.inf
        self._waiting: deque[tuple[tuple[Identity, str, str, str], dict[str, str]]] = deque()

    async def record(self, who: Identity, what: str, of: str, where: str, **more: str) -> None:
        """Append to the audit log, or keep the record until the head answers. HTTPException 503 if too many wait."""
        if len(self._waiting) >= MOST:
            raise HTTPException(503, "the audit log cannot be written while the cluster's head is away")
        away = time.monotonic() < self._away_until
        self._waiting.append(((who, what, of, where), more | ({"happened_at": _now()} if away else {})))
        async with self._writing:
            while self._waiting and time.monotonic() >= self._away_until:
                await self._write_first()

    async def _write_first(self) -> None:
        record, late = self._waiting[0]
        try:
            await self._access.record.remote(*record, **late)
            self._waiting.popleft()
        except RayTaskError:  # the head answers, and cannot write
            log.exception("the audit log cannot be written")
            raise HTTPException(503, "the audit log cannot be written: the log of `access` has the reason") from None
        except (HTTPException, RayError, RayServeException) as error:
            waiting, name = len(self._waiting), type(error).__name__
            log.warning("%d records of the audit log wait for the head: %s", waiting, name)
            late.setdefault("happened_at", _now())
            self._away_until = time.monotonic() + AGAIN_S


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
