"""How detectors are served: one generic deployment, and the client that hands samples to many of them at once."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Any, Literal

import ray
from ray import serve
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.serve import metrics
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview

from cluster import gpus
from cluster.errors import SettingsError
from cluster.records import Failure, Modality, ModelVersion, Sample
from cluster.settings import PREFIX, Settings
from deployments import events
from deployments.detector import DetectorAway, DetectorConfig, DetectorResponse, detector_class
from deployments.serving.placement import COLOCATED, configs, grouped, scale, shares
from deployments.serving.remote import RemoteAway, RemoteRefuses
from deployments.serving.replica import Replica

log = logging.getLogger(__name__)

APP = "raysift"

# Threads that spin while they wait make torch 7 to 16 times slower on a busy machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# Ray 2.60 leaves every card visible to a replica that was given none of it.
NO_CARD = {"CUDA_VISIBLE_DEVICES": ""}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

Condition = Literal["up", "asleep", "down"]

ENDED = (RayActorError, TimeoutError)  # the replica died on the call, or had not answered by its deadline
REMOTES_FAULT = (RemoteAway, RemoteRefuses)  # another cluster's, or of who set it up: no file is to blame
CLUSTERS_FAULT = (
    *ENDED, *REMOTES_FAULT, ObjectLostError, BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError,
)  # fmt: skip
ONES_PATIENCE_S = 30.0  # of somebody who waits for one answer; a job's is scanning.detector_timeout_s
QUEUED = 3  # calls that wait in a replica, so that it need not


@serve.deployment(
    max_ongoing_requests=1 + QUEUED,
    # the default back-off of 25 to 500 ms costs a quarter and more of the throughput when all replicas are busy
    request_router_config={"initial_backoff_s": 0.005, "max_backoff_s": 0.05},
    graceful_shutdown_timeout_s=5,
    graceful_shutdown_wait_loop_s=0.1,
    health_check_period_s=2,  # that a replica has died is noticed no sooner
)
class DetectorDeployment(Replica):
    """A replica that tells its events to Ray's metrics as `raysift_events`, by event and replica."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        if ray.is_initialized():
            metric = metrics.Counter("raysift_events", "what happened in a replica", tag_keys=("event",))
            events.listen(lambda event, by: metric.inc(by, {"event": event}))
        super().__init__(*arguments, **more)


def deployments(settings: Settings, cards: Sequence[gpus.Card]) -> dict[str, serve.Application]:
    """A deployment for every enabled detector, by its name; those that live together have the same one.

    The cards are those that memory is planned for; where there are none of them, detectors.NAME.gpus still asks Ray
    for one of another machine.
    """
    groups = grouped(settings)
    share = shares(groups, gpus.smallest_gb(cards))
    found: dict[str, serve.Application] = {}
    for name, group in groups.items():
        environment = ONE_THREAD | OFFLINE | _sources(settings) | ({} if share[name] else NO_CARD)
        deployed = DetectorDeployment.options(  # type: ignore[attr-defined]
            name=name,
            **scale(group),
            max_ongoing_requests=max(config.max_in_flight for config in group.values()) + QUEUED,
            ray_actor_options={
                "num_cpus": max(config.cpus for config in group.values()),
                "num_gpus": share[name],
                "runtime_env": {"env_vars": environment},
            },
        ).bind({one: config.model_dump() for one, config in group.items()}, share[name])
        found |= dict.fromkeys(group, deployed)
    return found


def _sources(settings: Settings) -> dict[str, str]:
    """What a replica needs to find weights and galleries where this process would."""
    models = settings.models.model_dump(mode="json", exclude_none=True)
    found = {f"{PREFIX}MODELS__{key.upper()}": str(value) for key, value in models.items()}
    return found | ({"AWS_ENDPOINT_URL": settings.s3_endpoint} if settings.s3_endpoint else {})


class ServedDetectors:
    """The running detectors, asked through their Serve handles.

    A call that ended by the cluster's fault is made again until `detector_timeout_s` is over; `tell` hears who is
    waited for (name, True) and who is back (name, False), and must not block. Then a job is blocked: DetectorAway, once
    all others of the batch have answered. Without `parks` the detector's answers are Failures.
    """

    back_off_s = 1.0  # doubled every time, up to 30
    counts_within_s = 2.0
    well_within_s = 30.0
    endings = 3  # so many calls that ended in the middle of a sample may be its own fault

    def __init__(
        self,
        handles: Mapping[str, DeploymentHandle[Any]],
        model_versions: Mapping[str, ModelVersion],
        configs: Mapping[str, DetectorConfig],
        detector_timeout_s: float = ONES_PATIENCE_S,
        parks: bool = False,
        tell: Callable[[str, bool], object] = lambda name, away: None,
    ) -> None:
        self.handles = handles
        self.model_versions = model_versions
        self.configs = configs
        self.detector_timeout_s = detector_timeout_s
        self.parks = parks
        self.tell = tell
        self.heard: set[str] = set()
        self.away: dict[str, float] = {}  # who is waited for, since when (time.time)

    @cached_property
    def states(self) -> dict[str, str]:
        """What else than model and floor each one's answers depend on, now: its own settings, who is enrolled."""
        return {name: detector_class(name).state(self.configs[name].there) for name in self.handles}

    def taking(self, modality: Modality) -> set[str]:
        """The detectors that look at such samples."""
        return {name for name in self.handles if modality in detector_class(name).modalities}

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """Hand the samples to all these detectors at once; one answer a sample of each."""
        wanted = sorted(names)
        # into the object store one time, not once for each detector
        batch = ray.put(samples) if len(wanted) > 1 and ray.is_initialized() else samples
        asked = await asyncio.gather(*(self._ask_one(name, batch, samples) for name in wanted))
        answered = {name: one for name, one in zip(wanted, asked, strict=True) if one is not None}
        if missing := [name for name in wanted if name not in answered]:
            raise DetectorAway(", ".join(missing), answered)
        return answered

    async def events(self) -> dict[str, list[dict[str, int]]]:
        """What each detector's replicas have counted, a dict a replica; nothing of those that do not answer at once."""

        async def of(name: str) -> list[dict[str, int]]:
            asked = self.handles[name].broadcast("counts")
            try:
                answers = await asked.results_async(timeout_s=self.counts_within_s, return_exceptions=True)
            except (TimeoutError, DeploymentUnavailableError):
                return []
            return [answer for answer in answers if isinstance(answer, dict)]

        names = list(self.handles)
        return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))

    async def _ask_one(self, name: str, batch: Any, samples: list[Sample]) -> DetectorResponse | None:
        """None: it stayed away."""
        since, ended = 0.0, 0
        for attempt in count():
            try:
                asked = await self._call(name, batch)
            except (RayTaskError, *CLUSTERS_FAULT) as error:
                why = error.cause if isinstance(error, RayTaskError) else error
                if why is not error and not isinstance(why, REMOTES_FAULT):
                    log.error("detector %s failed", name, exc_info=error)
                    return await self._blamed(name, samples, f"{type(why).__name__}: {why}")
                since = since or time.monotonic()
                ended += isinstance(why, ENDED)
                # Ray's own errors have a page of text
                said = why if isinstance(why, REMOTES_FAULT) else type(why).__name__
                log.warning("detector %s did not answer (%s), attempt %d", name, said, attempt + 1)
                if ended >= self.endings and await self._is_well(name):
                    said = "it took longer than deadline_s" if isinstance(why, TimeoutError) else "its process died"
                    return await self._blamed(name, samples, f"{said}, {ended} times")
                if time.monotonic() - since >= self.detector_timeout_s:
                    return self._given_up(name, samples)
                self._waits(name)
                await asyncio.sleep(min(30, self.back_off_s * 2 ** min(attempt, 5)) * random.uniform(0.5, 1))
            else:
                # the first time too: a worker that died may have said that it waits
                if self.away.pop(name, None) or name not in self.heard:
                    self.heard.add(name)
                    self.tell(name, False)
                return asked
        raise AssertionError

    async def _call(self, name: str, batch: Any) -> DetectorResponse:
        asked = self.handles[name].detect.remote(name, batch)
        try:
            return await asyncio.wait_for(asked, self.configs[name].deadline_s)
        except TimeoutError:
            asked.cancel()
            raise

    async def _is_well(self, name: str) -> bool:
        """Whether it answers its own example now: then what it does not answer is to blame."""
        try:
            found = await asyncio.wait_for(self.handles[name].answers_example.remote(name), self.well_within_s)
        except (RayTaskError, *CLUSTERS_FAULT):
            return False
        return bool(found)

    async def _blamed(self, name: str, samples: list[Sample], reason: str) -> DetectorResponse | None:
        if len(samples) == 1:
            return DetectorResponse([Failure(name, f"the detector failed on it: {reason}")])
        # other files' samples must not suffer for the one that it fails on
        alone = [await self._ask_one(name, [sample], [sample]) for sample in samples]
        asked = [one for one in alone if one is not None]
        if len(asked) < len(alone):
            return None
        answers = [answer for one in asked for answer in one.answers]
        return DetectorResponse(answers, sum(one.seconds for one in asked), sum(one.gpu_seconds for one in asked))

    def _waits(self, name: str) -> None:
        if name not in self.away:
            self.away[name] = time.time()
            self.tell(name, True)

    def _given_up(self, name: str, samples: list[Sample]) -> DetectorResponse | None:
        if self.parks:
            return None
        reason = f"the detector has not answered for {self.detector_timeout_s:.0f} s; try again when it is up"
        return DetectorResponse([Failure(name, reason)] * len(samples))


def running(settings: Settings) -> dict[str, ModelVersion]:
    """The detectors that run in this cluster, asleep or not. SettingsError when Raysift is not up."""
    application = serve.status().applications.get(APP)
    if application is None:
        raise SettingsError("Raysift does not run in this Ray cluster. Start it with `raysift up`.")
    up = {name for deployment in application.deployments for name in deployment.split(COLOCATED)}
    return {name: model_version for name, model_version in versions(settings).items() if name in up}


def conditions(names: Iterable[str]) -> dict[str, Condition]:
    """Whether each has a replica that runs, or none because nobody asks: a request starts one. This wakes none."""
    if not ray.is_initialized():  # Serve's local testing mode
        return dict.fromkeys(names, "up")
    deployed = serve.status().applications[APP].deployments.items()
    found = {name: _condition(facts) for group, facts in deployed for name in group.split(COLOCATED)}
    return {name: found.get(name, "down") for name in names}


def _condition(facts: DeploymentStatusOverview) -> Condition:
    if any(running for state, running in facts.replica_states.items() if state == "RUNNING"):
        return "up"
    # upscaling: somebody has just asked; a deployment that lacks a replica for any other reason has another status
    return "asleep" if facts.status in ("HEALTHY", "UPSCALING") else "down"


def versions(settings: Settings) -> dict[str, ModelVersion]:
    """What each enabled detector's answers are stored as the work of."""
    return {
        name: ModelVersion(name, detector_class(name).version(config.there), config.floor)
        for name, config in configs(settings).items()
    }


def connect(
    model_versions: Mapping[str, ModelVersion],
    settings: Settings,
    tell: Callable[[str, bool], object] = lambda name, away: None,
) -> ServedDetectors:
    """Handles to these detectors for a job, from anywhere in the cluster."""
    if settings.s3_endpoint:  # as a replica is given it: galleries may lie there
        os.environ["AWS_ENDPOINT_URL"] = settings.s3_endpoint
    deployed = serve.status().applications[APP].deployments
    where = {name: deployment for deployment in deployed for name in deployment.split(COLOCATED)}
    handles = {name: serve.get_deployment_handle(where[name], APP) for name in model_versions}
    return ServedDetectors(handles, model_versions, configs(settings), settings.scanning.detector_timeout_s, True, tell)
