"""What answers in a Serve replica: one detector, or several that live together, with their models loaded."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.records import Failure, Sample
from deployments import events
from deployments.detector import Detector, DetectorConfig, DetectorResponse, detector_class
from deployments.models import devices, runtime
from deployments.serving.placement import COLOCATED
from deployments.serving.remote import RemoteAway, RemoteDetector

log = logging.getLogger(__name__)

Loaded = Detector | RemoteDetector
Make = Callable[[str, DetectorConfig], Loaded]


def _made(name: str, config: DetectorConfig) -> Loaded:
    return RemoteDetector(name, config) if config.remote else detector_class(name)(config)


class Replica:
    """It is up when their models are loaded and each has answered for its example. It lets them go when nobody has
    asked for `idle_s` of all of them, and loads them again for the next request.
    """

    def __init__(self, configs: dict[str, dict[str, Any]], share: float = 0.0, make: Make = _made) -> None:
        self.configs = {name: detector_class(name).Config(**config) for name, config in configs.items()}
        self.share = share
        self.make = make
        devices.hold_to(share)
        # one call at a time, several to another cluster; off the event loop: health checks and queueing go on meanwhile
        self.thread = ThreadPoolExecutor(max(config.max_in_flight for config in self.configs.values()))
        self.began: list[float] = []  # the calls that are being answered
        self.detectors: dict[str, Loaded] = {}
        self._load()
        self.loaded_gb = devices.memory_gb()

    async def detect(self, name: str, samples: list[Sample]) -> DetectorResponse:
        """A list of detections for each sample, in order."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._detect, name, samples)

    async def answers_example(self, name: str) -> int:
        """How many things are found on the detector's own example, now; with its models let go: when last loaded.

        Of a detector in another cluster: 1 or 0, by what that cluster says of it.
        """
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._answers_example, name)

    async def counts(self) -> dict[str, int]:
        """What happened in this replica since it began: batches halved, segments dropped, models let go."""
        return events.counts()

    async def working_s(self) -> float | None:
        """Age in seconds of the oldest call that is being answered; None without any. It is read beside the queue."""
        return time.monotonic() - min(self.began) if self.began else None

    async def check_health(self) -> None:
        """Asked by Serve every 2 s; it replaces a replica that raises three times running.

        MemoryError when memory, this process's own or what torch reserved of the card, has grown out of bounds.
        TimeoutError when a call has not come to an end in the time that callers wait: the thread is lost.
        """
        for kind, now_gb in devices.memory_gb().items():
            grown_gb = now_gb - self.loaded_gb[kind]
            if grown_gb > max(config.max_growth_gb for config in self.configs.values()):
                log.error("%s: its %s memory grew by %.2f GB", COLOCATED.join(self.configs), kind, grown_gb)
                raise MemoryError(f"{kind} memory has grown by {grown_gb:.2f} GB; max_growth_gb allows less")
        now = time.monotonic()
        took_s = now - min(self.began, default=now)
        if took_s > max(config.deadline_s for config in self.configs.values()):
            log.error("%s: a call has not ended in %.0f s", COLOCATED.join(self.configs), took_s)
            raise TimeoutError(f"a call has not ended in {took_s:.0f} s; deadline_s allows less")
        if self._idle():
            self.thread.submit(self._let_go)

    def _load(self) -> None:
        self.detectors = {name: self.make(name, config) for name, config in self.configs.items()}
        self.found = {name: self._first_findings(name) for name in self.detectors}
        self.used = time.monotonic()

    def _detect(self, name: str, samples: list[Sample]) -> DetectorResponse:
        if not self.detectors:
            self._load()
            events.count("models loaded again")
        began = time.monotonic()
        self.began.append(began)
        try:
            return self._ask(name, samples)
        finally:
            self.began.remove(began)
            self.used = time.monotonic()

    def _ask(self, name: str, samples: list[Sample]) -> DetectorResponse:
        one = self.detectors[name]
        if isinstance(one, RemoteDetector):
            return one.ask(samples)  # what it costs there is known there
        began = time.monotonic()
        found = one.detect(samples)
        seconds = time.monotonic() - began
        return DetectorResponse(found, seconds, seconds * self.share)

    def _first_findings(self, name: str) -> int:
        try:
            return self._findings(name)
        except RemoteAway as error:
            # an outage elsewhere must not keep this process from starting: Serve would give it up for good
            log.warning("%s starts all the same: %s", name, error)
            return 0

    def _findings(self, name: str) -> int:
        (answer,) = self._ask(name, [self.detectors[name].example()]).answers
        return 0 if isinstance(answer, Failure) else len(answer)

    def _answers_example(self, name: str) -> int:
        # to ask whether it is ready is no use of it: that neither keeps its models nor loads them
        one = self.detectors.get(name)
        is_ready = one.is_ready() if isinstance(one, RemoteDetector) else None
        if is_ready is not None:
            return int(is_ready)
        # also of a remote that is busy there: an example keeps nothing awake that works anyway, and whoever asks in
        # order to blame a file learns whether the detector is only slow for everybody
        if one is not None:
            self.found[name] = self._findings(name)
        return self.found[name]

    def _idle(self) -> bool:
        allowed = [config.idle_s for config in self.configs.values()]
        since = time.monotonic() - self.used
        return bool(self.detectors) and all(idle_s is not None and since >= idle_s for idle_s in allowed)

    def _let_go(self) -> None:
        # in the thread of the requests, so never during one; one may have come in between
        if not self._idle():
            return
        self.detectors = {}
        runtime.forget()
        devices.free()
        events.count("models let go")
