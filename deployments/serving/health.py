"""The health of each detector. Probes come every few seconds, so the check must cost the detectors little."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.api_types import DetectorHealth, DetectorState
from cluster.metrics.declared import DETECTOR_PROBES
from cluster.metrics.recording import record
from deployments.serving.status import Condition, conditions

VALID_S = 5.0  # an answer is given to all callers for this time
RECENTLY_S = 300.0  # an example may wait this long in a queue of scans' samples
# the sum is less than the 10 s that probes wait
CONDITIONS_WITHIN_S = 2.0
EXAMPLE_WITHIN_S = 5.0
WORKING_WITHIN_S = 1.0


class Readiness:
    """The health of every detector, asked at most once in VALID_S; callers that come meanwhile share one question.

    A scan may keep a detector's queue full for hours, and an example waits for its turn in that queue. This is no
    reason to take the detector out of service. A detector whose example is not answered within EXAMPLE_WITHIN_S is
    therefore busy, not silent, while one of its replicas says that it works on a call (Serve replaces a replica whose
    call exceeds deadline_s), or if it has answered an example in the last RECENTLY_S.
    """

    def __init__(
        self, handles: Mapping[str, Any], conditions: Callable[[list[str]], dict[str, Condition]] = conditions
    ) -> None:
        self.handles = handles
        self.conditions = conditions
        self.answered = dict.fromkeys(handles, time.monotonic())  # each replica has answered its example at its start
        self._thread = ThreadPoolExecutor(1, "conditions")  # its own thread: the call hangs while Ray's head is away
        self._examples: dict[str, asyncio.Task[DetectorHealth]] = {}
        self._asking: asyncio.Task[dict[str, DetectorHealth]] | None = None
        self._until = 0.0

    async def detectors(self) -> dict[str, DetectorHealth]:
        """The health of each detector, by its name."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._until):
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # a probe that gives up must not end it for the others

    async def _ask(self) -> dict[str, DetectorHealth]:
        known = await self._conditions()
        # while the head is away nothing is known of replicas, and those that run answer all the same
        answers = await asyncio.gather(*(self._health(name, known.get(name, "up")) for name in self.handles))
        self._until = time.monotonic() + VALID_S
        for name, health in zip(self.handles, answers, strict=True):
            record(DETECTOR_PROBES, 1, detector=name, state=health.state)
        return dict(zip(self.handles, answers, strict=True))

    async def _conditions(self) -> dict[str, Condition]:
        call = asyncio.get_running_loop().run_in_executor(self._thread, self.conditions, list(self.handles))
        try:
            return await asyncio.wait_for(call, CONDITIONS_WITHIN_S)
        except Exception:  # Ray has no common type for what may be wrong with its head
            return {}

    async def _health(self, name: str, condition: Condition) -> DetectorHealth:
        if condition == "asleep":
            return _health(DetectorState.ASLEEP, "it starts at the next request")
        if condition == "down":
            return _health(DetectorState.DOWN, "none of its replicas runs")
        example = self._examples.get(name)
        if example is None or example.done():
            example = self._examples[name] = asyncio.create_task(self._example(name))
        await asyncio.wait([example], timeout=EXAMPLE_WITHIN_S)  # after that the example still waits for its turn
        if example.done():
            return example.result()
        since_s = time.monotonic() - self.answered[name]
        working_s = await self._working_s(name)
        if working_s is not None:
            return _health(DetectorState.BUSY, f"it has worked on a call for {working_s:.0f} s")
        if since_s <= RECENTLY_S:
            return _health(DetectorState.BUSY, f"it last answered {since_s:.0f} s ago")
        return _health(DetectorState.SILENT, f"it has not answered for {since_s:.0f} s")

    async def _example(self, name: str) -> DetectorHealth:
        try:
            findings = await self.handles[name].answers_example.remote(name)
        except Exception as error:  # whatever it is, this detector is not ready
            return _health(DetectorState.FAILING, f"it does not answer: {type(error).__name__}")
        self.answered[name] = time.monotonic()
        if not findings:
            return _health(DetectorState.FAILING, "it finds nothing on its own example")
        return _health(DetectorState.OK, "it answers")

    async def _working_s(self, name: str) -> float | None:
        """Age in seconds of the oldest call that a replica works on; None if no replica says that it works.

        A broadcast goes past the queue: a replica that is full answers it at once, one that hangs does not.
        """
        try:
            ages = (
                await self.handles[name]
                .broadcast("working_s")
                .results_async(timeout_s=WORKING_WITHIN_S, return_exceptions=True)
            )
        except Exception:  # as in _conditions
            return None
        return max((age for age in ages if isinstance(age, float)), default=None)


def _health(state: DetectorState, message: str) -> DetectorHealth:
    return DetectorHealth(state=state, message=message)
