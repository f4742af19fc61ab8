"""Whether each detector answers: what probes ask every few seconds, so that it must cost the detectors little."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deployments.serving.deployment import Condition, conditions

OK = "ok"
ASLEEP = "asleep: starts when asked"
BUSY = "busy: last answered"
STANDS_S = 5.0  # that an answer is given to all who ask
LATELY_S = 300.0  # an example may wait so long behind the samples of scans
# together less than the 10 s that probes wait
CONDITIONS_WITHIN_S = 2.0
EXAMPLE_WITHIN_S = 6.0


class Readiness:
    """Asked once in STANDS_S, however many ask; those who come meanwhile share one asking.

    A scan may keep a detector's queue full for hours, and an example waits its turn in it: no reason to be taken out of
    service. So who does not answer within EXAMPLE_WITHIN_S is ready still if it has answered in the last minutes, for
    as long as Serve has a replica of it: Serve asks each every 2 s, beside its queue, and replaces those that hang.
    """

    def __init__(
        self, handles: Mapping[str, Any], conditions: Callable[[list[str]], dict[str, Condition]] = conditions
    ) -> None:
        self.handles = handles
        self.conditions = conditions
        self.answered = dict.fromkeys(handles, time.monotonic())  # each has, to itself, before there was an API
        self._thread = ThreadPoolExecutor(1, "conditions")  # of its own: it hangs while Ray's head is away
        self._examples: dict[str, asyncio.Task[str]] = {}
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._until = 0.0

    async def states(self) -> dict[str, str]:
        """What there is to say of each detector, by its name; `well` tells the good words from the bad."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # a probe that gives up must not end it for the others

    async def _ask(self) -> dict[str, str]:
        found = await self._conditions()
        # nothing is known while the head is away: those that run answer all the same
        words = await asyncio.gather(*(self._word(name, found.get(name, "up")) for name in self.handles))
        self._until = time.monotonic() + STANDS_S
        return dict(zip(self.handles, words, strict=True))

    async def _conditions(self) -> dict[str, Condition]:
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self.conditions, list(self.handles))
        try:
            return await asyncio.wait_for(asked, CONDITIONS_WITHIN_S)
        except Exception:  # Ray has no one type for all that may be wrong with its head
            return {}

    async def _word(self, name: str, condition: Condition) -> str:
        if condition == "asleep":
            return ASLEEP
        if condition == "down":
            return "none of its replicas runs"
        asked = self._examples.get(name)
        if asked is None or asked.done():
            asked = self._examples[name] = asyncio.create_task(self._example(name))
        await asyncio.wait([asked], timeout=EXAMPLE_WITHIN_S)  # it goes on waiting for its turn
        if asked.done():
            return asked.result()
        since = time.monotonic() - self.answered[name]
        return f"{BUSY} {since:.0f} s ago" if since <= LATELY_S else f"it has not answered for {since:.0f} s"

    async def _example(self, name: str) -> str:
        try:
            found = await self.handles[name].answers_example.remote(name)
        except Exception as error:  # whatever it is, the answer is that this detector is not ready
            return f"it does not answer: {type(error).__name__}"
        self.answered[name] = time.monotonic()
        return OK if found else "it finds nothing on its own example"


def is_ready(word: str) -> bool:
    """Whether such a detector answers, now or when it is asked."""
    return word in (OK, ASLEEP) or word.startswith(BUSY)
