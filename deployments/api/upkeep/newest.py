"""The newest answer to a question that may take long or hang: no caller waits for it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
VALID_S = 5.0  # an answer is given to all callers for this time
FRESH_S = 15.0  # and while a later question is being asked: a busy detector takes seconds to answer its example
WITHIN_S = 0.3  # how long a caller waits


class Newest(Generic[T]):
    """Asks at most every VALID_S, one question at a time. Callers share the question that is being asked."""

    def __init__(self, name: str, ask: Callable[[], Awaitable[T]], within_s: float = WITHIN_S) -> None:
        """`name`: of what is asked, in the log."""
        self.value: T | None = None  # the newest answer
        self._name, self._ask, self._within_s = name, ask, within_s
        self._asking: asyncio.Task[None] | None = None
        self._due = self._at = 0.0

    async def look(self) -> bool:
        """Bring `value` up to date within the time. False if it is older than FRESH_S then, or there is none."""
        if self._asking is None and time.monotonic() >= self._due:
            self._asking = asyncio.create_task(self._answer())
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=self._within_s)
        return self.value is not None and time.monotonic() - self._at < FRESH_S

    async def _answer(self) -> None:
        try:
            self.value = await self._ask()
            self._at = time.monotonic()
            self._due = self._at + VALID_S
        except Exception as error:  # Ray has no common type for what may be wrong with its head
            log.warning("%s: %s", self._name, type(error).__name__)
        finally:
            self._asking = None
