"""The client of the served detectors: sends batches of samples to many of them at once, and waits for absent ones."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from cluster.records import Failure, Modality, ModelVersion, Sample
from cluster.traces import spans
from deployments import correlation
from deployments.detector import DetectorAway, DetectorConfig, DetectorResponse, detector_class
from deployments.serving.remote import RemoteAway, RemoteRefuses

log = logging.getLogger(__name__)

CALL_ENDED = (RayActorError, TimeoutError)  # the replica died during the call, or did not answer by its deadline
REMOTE_FAULT = (RemoteAway, RemoteRefuses)  # of another cluster, or of its set-up: no file is to blame
CLUSTER_FAULT = (
    *CALL_ENDED, *REMOTE_FAULT, ObjectLostError, BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError,
)  # fmt: skip
UPLOAD_TIMEOUT_S = 30.0  # for an absent detector, while a person waits; a job waits scanning.detector_timeout_s
MAX_BACK_OFF_S = 30.0
COUNTS_TIMEOUT_S = 2.0
EXAMPLE_TIMEOUT_S = 30.0
MAX_ENDED_CALLS = 3  # calls with the same samples that end early; then the samples may be what ends them


class ServedDetectors:
    """The running detectors, called through their Serve handles.

    A call that failed by the cluster's fault is repeated until `detector_timeout_s` after its first failure.
    `report_away` is called with (name, True) when a detector is first waited for and with (name, False) when it answers
    again; it must not block. After the time-out the detector's answers are Failures or, with `raise_if_away`, `ask`
    raises DetectorAway once all other detectors have answered.
    """

    back_off_s = 1.0  # before the first repetition; doubled each time, up to MAX_BACK_OFF_S

    def __init__(
        self,
        handles: Mapping[str, DeploymentHandle[Any]],
        model_versions: Mapping[str, ModelVersion],
        configs: Mapping[str, DetectorConfig],
        detector_timeout_s: float = UPLOAD_TIMEOUT_S,
        raise_if_away: bool = False,
        report_away: Callable[[str, bool], object] = lambda name, away: None,
    ) -> None:
        self.id = uuid4().hex
        self.handles = handles
        self.model_versions = model_versions
        self.configs = configs
        self.detector_timeout_s = detector_timeout_s
        self.raise_if_away = raise_if_away
        self.report_away = report_away
        self.answered: set[str] = set()  # detectors that have answered this client before
        self.away: set[str] = set()  # detectors that are waited for now

    @cached_property
    def states(self) -> dict[str, str]:
        """What each detector's answers depend on besides model and floor: its own settings, its gallery."""
        return {name: detector_class(name).state(self.configs[name].there) for name in self.handles}

    def current_versions(self, names: Iterable[str]) -> dict[str, ModelVersion]:
        """Detector -> its model version now: some contain that of a gallery, which is listed for it."""
        return {name: self._current_version(name) for name in names}

    def taking(self, modality: Modality) -> set[str]:
        """The names of the detectors that take samples of a modality."""
        return {name for name in self.handles if modality in detector_class(name).modalities}

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """Send the samples to all these detectors at once; the response of each has one answer a sample, in order."""
        wanted = sorted(names)
        # put into the object store once, not once for each detector
        several = len(wanted) > 1 and ray.is_initialized()
        batch = await asyncio.to_thread(ray.put, samples) if several else samples  # 16 frames take 40 ms
        responses = await asyncio.gather(*(self._ask_one(name, batch, samples) for name in wanted))
        answered = {name: response for name, response in zip(wanted, responses, strict=True) if response is not None}
        if missing := [name for name in wanted if name not in answered]:
            raise DetectorAway(", ".join(missing), answered)
        return answered

    async def events(self) -> dict[str, list[dict[str, int]]]:
        """By detector, the event counts of each replica; without those silent for COUNTS_TIMEOUT_S."""

        async def counts(name: str) -> list[dict[str, int]]:
            call = self.handles[name].broadcast("counts")
            try:
                answers = await call.results_async(timeout_s=COUNTS_TIMEOUT_S, return_exceptions=True)
            except (TimeoutError, DeploymentUnavailableError):
                return []
            return [answer for answer in answers if isinstance(answer, dict)]

        names = list(self.handles)
        return dict(zip(names, await asyncio.gather(*map(counts, names)), strict=True))

    async def _ask_one(self, name: str, batch: Any, samples: list[Sample]) -> DetectorResponse | None:
        """The response of one detector to `batch`, a reference to the samples or the samples; None if it stays away."""
        first_failure_s, ended = None, 0
        for attempt in count():
            try:
                response = await self._call(name, batch, len(samples))
            except (RayTaskError, *CLUSTER_FAULT) as error:
                cause = error.cause if isinstance(error, RayTaskError) else error
                if cause is not error and not isinstance(cause, REMOTE_FAULT):
                    log.error("detector %s failed", name, exc_info=error)
                    return await self._ask_singly(name, samples, f"{type(cause).__name__}: {cause}")
                first_failure_s = first_failure_s or time.monotonic()
                ended += isinstance(cause, CALL_ENDED)
                # Ray's own errors have a page of text
                reason = cause if isinstance(cause, REMOTE_FAULT) else type(cause).__name__
                log.warning("detector %s did not answer (%s), attempt %d", name, reason, attempt + 1)
                if ended >= MAX_ENDED_CALLS and await self._answers_example(name):
                    how = "it took longer than deadline_s" if isinstance(cause, TimeoutError) else "its process died"
                    return await self._ask_singly(name, samples, f"{how}, {ended} times")
                if time.monotonic() - first_failure_s >= self.detector_timeout_s:
                    return self._timed_out(name, samples)
                self._note_away(name)
                back_off_s = min(MAX_BACK_OFF_S, self.back_off_s * 2 ** min(attempt, 5))
                await asyncio.sleep(back_off_s * random.uniform(0.5, 1))
            else:
                self._note_answered(name)
                return response
        raise AssertionError

    async def _call(self, name: str, batch: Any, count: int) -> DetectorResponse:
        """One call of a replica. TimeoutError, and the call is cancelled, after the detector's deadline_s."""
        with spans.span("detector", detector=name, samples=count):
            call = self.handles[name].detect.remote(name, batch, self.id, **correlation.parent())
            try:
                return await asyncio.wait_for(call, self.configs[name].deadline_s)
            except TimeoutError:
                call.cancel()
                raise

    async def _answers_example(self, name: str) -> bool:
        """Whether the detector answers its own example now: then samples that it does not answer are to blame."""
        try:
            call = self.handles[name].answers_example.remote(name)
            return bool(await asyncio.wait_for(call, EXAMPLE_TIMEOUT_S))
        except (RayTaskError, *CLUSTER_FAULT):
            return False

    async def _ask_singly(self, name: str, samples: list[Sample], reason: str) -> DetectorResponse | None:
        """Send each sample alone, so that only the one that the detector fails on becomes a Failure.

        None if the detector stays away meanwhile.
        """
        if len(samples) == 1:
            return DetectorResponse([Failure(name, f"the detector failed on it: {reason}")])
        responses = [await self._ask_one(name, [sample], [sample]) for sample in samples]
        present = [response for response in responses if response is not None]
        if len(present) < len(responses):
            return None
        return DetectorResponse(
            [answer for response in present for answer in response.answers],
            sum(response.seconds for response in present),
            sum(response.gpu_seconds for response in present),
        )

    def _note_away(self, name: str) -> None:
        if name not in self.away:
            self.away.add(name)
            self.report_away(name, True)

    def _note_answered(self, name: str) -> None:
        # reported for the first answer too: a worker that has died may have reported the detector as away
        if name in self.away or name not in self.answered:
            self.away.discard(name)
            self.answered.add(name)
            self.report_away(name, False)

    def _current_version(self, name: str) -> ModelVersion:
        known, config = self.model_versions[name], self.configs[name].there
        try:
            return replace(known, model=detector_class(name).version(config)) if hasattr(config, "gallery") else known
        except OSError as error:
            log.warning("the gallery of %s cannot be listed (%s): its version is that of the start", name, error)
            return known

    def _timed_out(self, name: str, samples: list[Sample]) -> DetectorResponse | None:
        if self.raise_if_away:
            return None
        reason = f"the detector has not answered for {self.detector_timeout_s:.0f} s; try again when it is up"
        return DetectorResponse([Failure(name, reason)] * len(samples))
