"""How detectors are served: one generic deployment, and the client that hands samples to many of them at once."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from cluster.errors import SettingsError
from cluster.records import Answer, Detection, Failure, Modality, Sample
from cluster.settings import PREFIX, Settings, explain
from deployments.detector import Detector, DetectorConfig, detector_class, names

log = logging.getLogger(__name__)

APP = "raysift"
TOGETHER = "+"  # between the names of detectors that share a deployment

# Threads that spin while they wait make torch 7 to 16 times slower on a busy machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

CLUSTERS_FAULT = (RayActorError, BackPressureError, DeploymentUnavailableError)


@serve.deployment(
    max_ongoing_requests=4,
    # the default back-off of 25 to 500 ms costs a quarter and more of the throughput when all replicas are busy
    request_router_config={"initial_backoff_s": 0.005, "max_backoff_s": 0.05},
    graceful_shutdown_timeout_s=5,
    graceful_shutdown_wait_loop_s=0.1,
)
class DetectorDeployment:
    """A replica of one detector, or of several that live together.

    It is up when their models are loaded and each has answered for its example.
    """

    def __init__(self, configs: dict[str, dict[str, Any]]) -> None:
        self.detectors = {name: _made(name, config) for name, config in configs.items()}
        for detector in self.detectors.values():
            detector.detect([detector.example()])
        # one call at a time, off the event loop: health checks and queueing go on meanwhile
        self.thread = ThreadPoolExecutor(1)

    async def detect(self, name: str, samples: list[Sample]) -> list[list[Detection]]:
        """One list of detections a sample, in order."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.detectors[name].detect, samples)

    async def answers_example(self, name: str) -> int:
        """How many things are found on the detector's own example, now."""
        (found,) = await self.detect(name, [self.detectors[name].example()])
        return len(found)


def _made(name: str, config: dict[str, Any]) -> Detector:
    kind = detector_class(name)
    return kind(kind.Config(**config))


def configs(settings: Settings) -> dict[str, DetectorConfig]:
    """The checked config of every enabled detector. SettingsError names the detector or key that is wrong."""
    for name in settings.detectors:
        if name not in names():
            raise SettingsError(
                f"settings: no detector {name!r}; there are {', '.join(names())}. Correct its spelling."
            )
    found = {}
    for name in names():
        kind = detector_class(name)
        given: dict[str, Any] = {"backend": settings.profile} if settings.profile in kind.backends else {}
        if "gallery" in kind.Config.model_fields:
            given["gallery"] = f"{settings.galleries}/{name}"
        try:
            config = kind.Config(**given | settings.detectors.get(name, {}))
        except ValidationError as error:
            raise SettingsError(explain(error, f"settings, detectors.{name}")) from None
        if config.enabled:
            found[name] = config
    return found


def deployments(settings: Settings) -> dict[str, serve.Application]:
    """A deployment for every enabled detector, by its name; those that live together have the same one."""
    groups: dict[str, dict[str, DetectorConfig]] = {}
    for name, config in configs(settings).items():
        groups.setdefault(config.together or name, {})[name] = config
    found: dict[str, serve.Application] = {}
    for group in groups.values():
        deployed = DetectorDeployment.options(  # type: ignore[attr-defined]
            name=TOGETHER.join(group),
            num_replicas=max(config.replicas for config in group.values()),
            ray_actor_options={
                "num_cpus": max(config.cpus for config in group.values()),
                "num_gpus": max(config.gpus or 0 for config in group.values()),
                "runtime_env": {"env_vars": ONE_THREAD | OFFLINE | _sources(settings)},
            },
        ).bind({name: config.model_dump() for name, config in group.items()})
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
