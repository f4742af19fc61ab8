"""The contract of a detector: its config, its response, its base class; and which detectors there are."""

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from cluster.records import Answer, Detection, Modality, Sample
from cluster.settings import Profile

# searched by name, so that the contract does not import the detectors that import it
DETECTORS = "deployments.detectors"
Infer = Callable[[list[Sample]], Any]  # one raw answer for each sample, in order
T = TypeVar("T")

# settings of models that are loaded on this cluster: invalid for a detector that another cluster answers for
OF_LOADED_MODELS = ("gpus", "gpu_memory_gb", "idle_s", "colocate")
REMOTE = "remote"  # a backend that every detector has: another Raysift cluster answers


class Remote(BaseModel):
    """The cluster that answers for a detector whose backend is `remote`: the address of its API and how to call it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str  # https://gpus.example.com
    profile: Profile = "gpu"  # the profile with which that cluster runs the detector
    key_file: Path | None = None  # a key of that cluster, role reviewer; on every node that a replica may run on
    ca_file: Path | None = None  # the authority that signed its certificate; None: a public one
    max_in_flight: int = Field(4, ge=1)  # batches that each replica here has sent and awaits: they hide the latency
    timeout_s: float = Field(300.0, gt=0)  # without a byte of a response; the whole batch may take longer

    @model_validator(mode="before")
    @classmethod
    def _read_renamed(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.keys() & {"user", "password_file"}:
            raise ValueError("user and password_file are replaced by key_file: `raysift keys add` there makes a key")
        if isinstance(given, dict) and "at_once" in given:  # its name in version 0.1; read until 0.3
            return {"max_in_flight": given["at_once"], **{key: given[key] for key in given if key != "at_once"}}
        return given

    @field_validator("url")
    @classmethod
    def _of_an_api(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("it is no address of an API, such as https://gpus.example.com")
        if "@" in parts.netloc:
            raise ValueError("it names a user; set key_file instead")
        return url.rstrip("/")

    @field_validator("key_file", "ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None


class DetectorConfig(BaseModel):
    """The settings that every detector has. Each detector's own config derives from it and adds fields.

    `defaults` holds values that depend on the backend, by its name; what an operator sets takes precedence. A field
    named `gallery` is filled with the URI of that detector's reference pictures, a folder of `galleries_uri`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    enabled: bool = True
    backend: str = "embedded"
    model: str  # references to weights, as runtime.weights() takes them; stored with every detection
    floor: float = Field(0.0, ge=0, le=1)  # weaker detections are not kept; queries may apply a higher threshold
    replicas: int = Field(1, ge=0)  # the minimum; 0: none without requests, and the first request waits for the models
    # the maximum; None: as many as replicas. Serve aims at two calls in flight for each replica, and a worker of a job
    # makes two at a time: one job scales a detector to about scanning.workers replicas, whatever is allowed here.
    max_replicas: int | None = Field(None, ge=1)
    upscale_delay_s: float = Field(5.0, gt=0)  # of queueing requests, before another replica starts
    downscale_delay_s: float = Field(120.0, gt=0)  # of a surplus replica, before it ends
    downscale_to_zero_delay_s: float = Field(300.0, gt=0)  # the same for the last one, where replicas is 0
    deadline_s: float = Field(900.0, gt=0)  # a call that takes longer is cancelled and made again
    cpus: float = Field(0.1, gt=0)  # logical CPUs for Ray's scheduler; not a limit
    gpus: float | None = Field(None, ge=0)  # share of a card; None: gpu_memory_gb over the memory of the smallest card
    gpu_memory_gb: float = Field(0.0, ge=0)  # of weights, one batch's activations and 0.5 of CUDA context; 0: no card
    max_growth_gb: float = Field(
        4.0, gt=0
    )  # a replica whose main or card memory grew by more since loading is replaced
    idle_s: float | None = Field(None, gt=0)  # without a request, after which models are unloaded; None: never
    colocate: str = ""  # detectors with the same name here share a replica process and its loaded networks
    remote: Remote | None = None  # of the backend `remote`: the cluster that answers

    @model_validator(mode="before")
    @classmethod
    def _of_its_backend(cls, given: Any) -> Any:
        if "together" in given:  # its name in version 0.1; read until 0.3
            given = {"colocate": given["together"], **{key: given[key] for key in given if key != "together"}}
        backend = given.get("backend", cls.model_fields["backend"].default)
        if backend != REMOTE:
            return {**cls.defaults.get(backend, {}), **given}
        remote = given.get("remote") or {}  # without one, its url is missing
        profile: Any = remote.get("profile") if isinstance(remote, dict) else None
        if profile not in get_args(Profile):  # missing; or wrong, which its own check reports
            profile = Remote.model_fields["profile"].default
        there = cls.defaults.get(profile, {})
        elsewhere = {key: value for key, value in there.items() if key not in OF_LOADED_MODELS}
        return {**elsewhere, **given, "remote": remote}

    @field_validator("remote")
    @classmethod
    def _only_of_its_backend(cls, remote: Remote | None, info: ValidationInfo) -> Remote | None:
        if remote and info.data.get("backend") != REMOTE:
            raise ValueError(f"it is for the backend {REMOTE}; set backend: {REMOTE} beside it")
        # timeout_s applies once while a batch is sent and once while its response is awaited; a slow but steady
        # transfer is ended by deadline_s only
        if remote and 2 * remote.timeout_s > info.data.get("deadline_s", math.inf):
            raise ValueError("its timeout_s is more than half of deadline_s")
        return remote

    @field_validator(*OF_LOADED_MODELS)
    @classmethod
    def _not_of_a_remote(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("backend") == REMOTE:
            raise ValueError(
                f"it is for models that this cluster loads, and the backend {REMOTE} loads none; remove it"
            )
        return value

    @model_validator(mode="after")
    def _some_replica(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas is {self.max_replicas}, and replicas, the least, is {self.replicas}")
        return self

    @property
    def there(self) -> Self:
        """The config on the cluster that has the models, this one or another; versions and states derive from it."""
        return self.model_copy(update={"backend": self.remote.profile, "remote": None}) if self.remote else self

    @property
    def max_in_flight(self) -> int:
        """The number of calls that a replica works on at a time."""
        return self.remote.max_in_flight if self.remote else 1

    @property
    def most_replicas(self) -> int:
        """The maximum number of replicas: one if replicas is 0 and max_replicas is not set."""
        return self.max_replicas or max(1, self.replicas)

    @property
    def scales(self) -> bool:
        """Whether the number of replicas follows the number of requests."""
        return self.most_replicas > self.replicas


@dataclass(frozen=True, slots=True)
class DetectorResponse:
    """The answers for a batch, one for each sample in order, and what they cost."""

    answers: Sequence[Answer]
    seconds: float = 0.0  # of a replica's work
    gpu_seconds: float = 0.0  # seconds times the share of a card that the replica holds


class DetectorAway(Exception):
    """A detector did not answer within the caller's deadline. `answered` has the responses of the others, by name."""

    def __init__(self, name: str, answered: Mapping[str, DetectorResponse] | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.answered = dict(answered or {})


class Detector(ABC):
    """Base class of all detectors. Construction loads the model, so a detector is constructed in its replica.

    Only its name and config travel between processes. A subclass is the only one in its module, which bears its name.
    """

    Config: ClassVar[type[DetectorConfig]]
    modalities: ClassVar[frozenset[Modality]]
    # whether it also takes tiles, in full resolution, of pictures that are shrunk much (pipelines/media/stills.py)
    detail: ClassVar[bool] = False
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]]  # name -> factory that takes the config

    def __init__(self, config: Any, infer: Infer | None = None) -> None:
        self.config = config
        self.infer = infer or self.backends[config.backend](config)

    @classmethod
    def version(cls, config: Any) -> str:
        """The model as it is stored with detections. Files whose stored answers have another one are analysed again."""
        return str(config.model)

    @classmethod
    def state(cls, config: Any) -> str:
        """What else the answers depend on: a cached answer is valid only while this string is the same."""
        return repr(config.model_dump(exclude=set(DetectorConfig.model_fields)))

    @abstractmethod
    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The detections of each sample, in the order of the samples; an empty list where nothing was found."""

    @classmethod
    @abstractmethod
    def example(cls) -> Sample:
        """A generated sample on which the detector finds something: for warm-up, readiness and the contract test."""


def by_modality(
    samples: list[Sample],
    answer_images: Callable[[list[Sample]], Sequence[T]],
    answer_texts: Callable[[list[Sample]], Sequence[T]],
) -> list[T]:
    """Answer images with one function and texts with another; the answers are in the order of the samples.

    A function is not called without samples.
    """
    images = [sample for sample in samples if sample.pixels is not None]
    texts = [sample for sample in samples if sample.pixels is None]
    of_images = iter(answer_images(images) if images else [])
    of_texts = iter(answer_texts(texts) if texts else [])
    return [next(of_images if sample.pixels is not None else of_texts) for sample in samples]


def names() -> list[str]:
    """The names of all detectors, sorted; no detector is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(DETECTORS).__path__))


@cache  # every request asks for it several times, and names() lists a folder
def detector_class(name: str) -> type[Detector]:
    """The detector's class, from its module. LookupError lists the names that exist."""
    if name not in names():
        raise LookupError(f"no detector {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"{DETECTORS}.{name}")
    (detector,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Detector) and value.__module__ == module.__name__
    )
    return detector


def wants_detail(name: str) -> bool:
    """Whether a detector of that name exists and takes tiles of large pictures."""
    return name in names() and detector_class(name).detail
