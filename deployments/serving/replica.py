"""A Serve replica: one detector or several colocated ones, with their models loaded."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from cluster import heap
from cluster.metrics.declared import BATCH_SAMPLES, DETECTOR_SAMPLES, DETECTOR_SECONDS
from cluster.metrics.recording import record
from cluster.records import COLOCATED, Failure, Sample
from cluster.traces import spans
from deployments import events
from deployments.detector import Detector, DetectorConfig, DetectorResponse, detector_class
from deployments.galleries import watcher
from deployments.models import devices, runtime
from deployments.serving.gpu_usage import GpuUsage
from deployments.serving.remote import RemoteAway, RemoteDetector

log = logging.getLogger(__name__)

Loaded = Detector | RemoteDetector
Make = Callable[[str, DetectorConfig], Loaded]
CLIENTS = 64  # that a replica remembers


def _load_detector(name: str, config: DetectorConfig) -> Loaded:
    """The detector itself, or the client of another cluster that runs it."""
    return RemoteDetector(name, config) if config.remote else detector_class(name)(config)


class Replica:
    """Answers calls of its detectors. Its constructor returns when all are loaded and have answered their examples.

    When no call has come for the `idle_s` of all of them, it drops their models; the next call loads them again.
    """

    def __init__(self, configs: dict[str, dict[str, Any]], share: float = 0.0, make: Make = _load_detector) -> None:
        self.configs = {name: detector_class(name).Config(**config) for name, config in configs.items()}
        self.share = share
        self.gpu_usage = GpuUsage(COLOCATED.join(self.configs)) if share else None
        self.make = make
        devices.hold_to(share)
        # one call at a time, several to another cluster; in threads: the event loop answers health checks meanwhile
        self.thread = ThreadPoolExecutor(max(config.max_in_flight for config in self.configs.values()))
        self.began: list[float] = []  # time.monotonic() of the calls that are being answered
        self.detectors: dict[str, Loaded] = {}
        self.has_worked = True  # since it gave back freed memory
        self.clients = deque[str](maxlen=CLIENTS)  # that have called
        self._load()
        self.loaded_gb = devices.memory_gb()

    async def detect(
        self, name: str, samples: list[Sample], client: str, parent: str | None = None
    ) -> DetectorResponse:
        """The response of one detector: an answer for each sample, in order, and what they cost.

        `client`: the caller's id. It may store the answers under the version that a gallery had when it was made, so
        the galleries are listed again at its first call. `parent`: its span, if it records spans.
        """
        if client not in self.clients:
            self.clients.append(client)
            watcher.expire()
        run = copy_context().run  # with the id of the request or job, for log lines and for another cluster
        return await asyncio.get_running_loop().run_in_executor(self.thread, run, self._detect, name, samples, parent)

    async def answers_example(self, name: str) -> int:
        """How many findings the detector has on its own example now; when its models are dropped, had when last loaded.

        For a detector of another cluster: 1 or 0, as that cluster reports it ready or not.
        """
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._answers_example, name)

    async def counts(self) -> dict[str, int]:
        """Event -> how often it happened in this replica: batches halved, segments dropped, models dropped."""
        return events.counts()

    async def working_s(self) -> float | None:
        """Age in seconds of the oldest call that is being answered; None without any. It is read beside the queue."""
        return time.monotonic() - min(self.began) if self.began else None

    async def check_health(self) -> None:
        """Called by Serve every 2 s, which replaces a replica that raises three times in a row.

        MemoryError when the memory of this process, or what torch reserved of the GPU, has grown by max_growth_gb.
        TimeoutError when a call takes longer than deadline_s, after which its caller has given it up.
        """
        for kind, now_gb in devices.memory_gb().items():
            grown_gb = now_gb - self.loaded_gb[kind]
            if grown_gb > max(config.max_growth_gb for config in self.configs.values()):
                log.error("%s: its %s memory grew by %.2f GB", COLOCATED.join(self.configs), kind, grown_gb)
                raise MemoryError(f"{kind} memory has grown by {grown_gb:.2f} GB; max_growth_gb allows less")
        if self.gpu_usage:
            await asyncio.to_thread(self.gpu_usage.report)
        now = time.monotonic()
        took_s = now - min(self.began, default=now)
        if took_s > max(config.deadline_s for config in self.configs.values()):
            log.error("%s: a call has not ended in %.0f s", COLOCATED.join(self.configs), took_s)
            raise TimeoutError(f"a call has not ended in {took_s:.0f} s; deadline_s allows less")
        if self._is_idle():
            self.thread.submit(self._unload)
        if self.has_worked and not self.began and now - self.used >= heap.IDLE_S:
            self.has_worked = False
            self.thread.submit(heap.give_back)

    def _load(self) -> None:
        self.detectors = {name: self.make(name, config) for name, config in self.configs.items()}
        self.found = {name: self._first_findings(name) for name in self.detectors}
        self.used = time.monotonic()

    def _detect(self, name: str, samples: list[Sample], parent: str | None = None) -> DetectorResponse:
        if not self.detectors:
            with spans.span("load", parent, detector=name):
                self._load()
            events.count("models loaded again")
        began = time.monotonic()
        self.began.append(began)
        try:
            with spans.span("inference", parent, detector=name, samples=len(samples)):
                response = self._ask(name, samples)
            # all three of answered calls: the seconds by the samples are the time for a sample
            record(DETECTOR_SECONDS, time.monotonic() - began, detector=name)
            record(BATCH_SAMPLES, len(samples), detector=name)
            record(DETECTOR_SAMPLES, len(samples), detector=name)
            return response
        finally:
            self.began.remove(began)
            self.used, self.has_worked = time.monotonic(), True

    def _ask(self, name: str, samples: list[Sample]) -> DetectorResponse:
        detector = self.detectors[name]
        if isinstance(detector, RemoteDetector):
            return detector.ask(samples)  # that cluster measures the cost
        began = time.monotonic()
        answers = detector.detect(samples)
        seconds = time.monotonic() - began
        return DetectorResponse(answers, seconds, seconds * self.share)

    def _first_findings(self, name: str) -> int:
        try:
            return self._findings(name)
        except RemoteAway as error:
            # an outage elsewhere must not keep this replica from starting: Serve would give up the deployment
            log.warning("%s starts all the same: %s", name, error)
            return 0

    def _findings(self, name: str) -> int:
        (answer,) = self._ask(name, [self.detectors[name].example()]).answers
        return 0 if isinstance(answer, Failure) else len(answer)

    def _answers_example(self, name: str) -> int:
        # a readiness probe is no use of the detector: it neither keeps its models loaded nor loads them
        detector = self.detectors.get(name)
        is_ready = detector.is_ready() if isinstance(detector, RemoteDetector) else None
        if is_ready is not None:
            return int(is_ready)
        # also sent to a remote detector that is busy: it is awake anyway, and a client that is about to blame a file
        # learns whether the detector is slow for all of them
        if detector is not None:
            self.found[name] = self._findings(name)
        return self.found[name]

    def _is_idle(self) -> bool:
        allowed = [config.idle_s for config in self.configs.values()]
        since = time.monotonic() - self.used
        return bool(self.detectors) and all(idle_s is not None and since >= idle_s for idle_s in allowed)

    def _unload(self) -> None:
        # runs in the thread of the calls, so never during one; a call may have come before it
        if not self._is_idle():
            return
        self.detectors = {}
        runtime.forget()
        devices.free()
        events.count("models let go")
