"""How detectors are served: one generic deployment, and the client that hands samples to many of them at once."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve import metrics
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from cluster import gpus
from cluster.errors import SettingsError
from cluster.records import Answer, Detection, Failure, Modality, Sample
from cluster.settings import PREFIX, Settings
from deployments import backends, counting, devices
from deployments.detector import Detector, DetectorConfig, detector_class
from deployments.planning import TOGETHER, configs, grouped, replicas, shares

log = logging.getLogger(__name__)

APP = "raysift"

# Threads that spin while they wait make torch 7 to 16 times slower on a busy machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# Ray 2.60 leaves every card visible to a replica that was given none of it.
NO_CARD = {"CUDA_VISIBLE_DEVICES": ""}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

CLUSTERS_FAULT = (RayActorError, BackPressureError, DeploymentUnavailableError)


Make = Callable[[str, DetectorConfig], Detector]


def _made(name: str, config: DetectorConfig) -> Detector:
    return detector_class(name)(config)


def _findings(detector: Detector) -> int:
    (found,) = detector.detect([detector.example()])
    return len(found)


def _to_metric() -> Callable[[str, int], None]:
    """What tells events to Ray's metrics as `raysift_events`, by event and replica."""
    metric = metrics.Counter("raysift_events", "what happened in a replica", tag_keys=("event",))
    return lambda event, by: metric.inc(by, {"event": event})


@serve.deployment(
    max_ongoing_requests=4,
    # the default back-off of 25 to 500 ms costs a quarter and more of the throughput when all replicas are busy
    request_router_config={"initial_backoff_s": 0.005, "max_backoff_s": 0.05},
    graceful_shutdown_timeout_s=5,
    graceful_shutdown_wait_loop_s=0.1,
)
class DetectorDeployment:
    """A replica of one detector, or of several that live together.

    It is up when their models are loaded and each has answered for its example. It lets them go when nobody has asked
    for `idle_s` of all of them, and loads them again for the next request.
    """

    def __init__(self, configs: dict[str, dict[str, Any]], share: float = 0.0, make: Make = _made) -> None:
        self.configs = {name: detector_class(name).Config(**config) for name, config in configs.items()}
        self.make = make
        devices.hold_to(share)
        if ray.is_initialized():
            counting.listen(_to_metric())
        # one call at a time, off the event loop: health checks and queueing go on meanwhile
        self.thread = ThreadPoolExecutor(1)
        self.detectors: dict[str, Detector] = {}
        self._load()
        self.loaded_gb = devices.memory_gb()

    async def detect(self, name: str, samples: list[Sample]) -> list[list[Detection]]:
        """One list of detections a sample, in order."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._detect, name, samples)

    async def answers_example(self, name: str) -> int:
        """How many things are found on the detector's own example, now; with its models let go: when last loaded."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._answers_example, name)

    async def counts(self) -> dict[str, int]:
        """What happened in this replica since it began: batches halved, segments dropped, models let go."""
        return counting.counts()

    async def check_health(self) -> None:
        """Asked by Serve every 10 s; it replaces a replica that raises three times running.

        MemoryError when memory, this process's own or what torch reserved of the card, has grown out of bounds.
        """
        for kind, now_gb in devices.memory_gb().items():
            grown_gb = now_gb - self.loaded_gb[kind]
            if grown_gb > max(config.max_growth_gb for config in self.configs.values()):
                log.error("%s: its %s memory grew by %.2f GB", TOGETHER.join(self.configs), kind, grown_gb)
                raise MemoryError(f"{kind} memory has grown by {grown_gb:.2f} GB; max_growth_gb allows less")
        if self._idle():
            self.thread.submit(self._let_go)

    def _load(self) -> None:
        self.detectors = {name: self.make(name, config) for name, config in self.configs.items()}
        self.found = {name: _findings(one) for name, one in self.detectors.items()}
        self.used = time.monotonic()

    def _detect(self, name: str, samples: list[Sample]) -> list[list[Detection]]:
        if not self.detectors:
            self._load()
            counting.count("models loaded again")
        try:
            return self.detectors[name].detect(samples)
        finally:
            self.used = time.monotonic()

    def _answers_example(self, name: str) -> int:
        # to ask whether it is ready is no use of it: that neither keeps its models nor loads them
        if name in self.detectors:
            self.found[name] = _findings(self.detectors[name])
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
        backends.forget()
        devices.free()
        counting.count("models let go")


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
            num_replicas=replicas(group),
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
    """The running detectors, asked through their Serve handles."""

    back_off_s = 1.0  # doubled every time, up to 30
    counts_within_s = 2.0

    def __init__(self, handles: Mapping[str, DeploymentHandle[Any]], models: Mapping[str, str], attempts: int) -> None:
        self.handles = handles
        self.models = models
        self.attempts = attempts

    def taking(self, modality: Modality) -> set[str]:
        """The detectors that look at such samples."""
        return {name for name in self.handles if modality in detector_class(name).modalities}

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, list[Answer]]:
        """Hand the samples to all these detectors at once; one answer a sample of each."""
        wanted = sorted(names)
        # into the object store one time, not once for each detector
        batch = ray.put(samples) if len(wanted) > 1 and ray.is_initialized() else samples
        answers = await asyncio.gather(*(self._ask_one(name, batch, samples) for name in wanted))
        return dict(zip(wanted, answers, strict=True))

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

    async def _ask_one(self, name: str, batch: Any, samples: list[Sample]) -> list[Answer]:
        for attempt in range(self.attempts):
            try:
                return list(await self.handles[name].detect.remote(name, batch))
            except CLUSTERS_FAULT as error:
                log.warning("detector %s did not answer (%s), attempt %d", name, type(error).__name__, attempt + 1)
                await asyncio.sleep(min(30, self.back_off_s * 2**attempt) * random.uniform(0.5, 1))
            except RayTaskError as error:
                if len(samples) > 1:  # other files' samples must not suffer for the one that it fails on
                    alone = [await self._ask_one(name, [sample], [sample]) for sample in samples]
                    return [answer for (answer,) in alone]
                log.error("detector %s failed", name, exc_info=error)
                reason = f"the detector failed on it: {type(error.cause).__name__}: {error.cause}"
                return [Failure(name, reason)]
        silent = Failure(name, f"the detector did not answer in {self.attempts} attempts; scan again when it is up")
        return [silent] * len(samples)


def running(settings: Settings) -> dict[str, str]:
    """The model of each detector that runs in this cluster. SettingsError when Raysift is not up."""
    application = serve.status().applications.get(APP)
    if application is None:
        raise SettingsError("Raysift does not run in this Ray cluster. Start it with `raysift up`.")
    up = {name for deployment in application.deployments for name in deployment.split(TOGETHER)}
    return {name: config for name, config in versions(settings).items() if name in up}


def versions(settings: Settings) -> dict[str, str]:
    """What each enabled detector's answers are stored as the work of."""
    return {name: detector_class(name).version(config) for name, config in configs(settings).items()}


def connect(models: Mapping[str, str], settings: Settings) -> ServedDetectors:
    """Handles to these detectors, from anywhere in the cluster."""
    deployed = serve.status().applications[APP].deployments
    where = {name: deployment for deployment in deployed for name in deployment.split(TOGETHER)}
    handles = {name: serve.get_deployment_handle(where[name], APP) for name in models}
    return ServedDetectors(handles, models, settings.scanning.attempts)
