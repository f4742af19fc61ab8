"""What a detector is, and which there are: one file in deployments/detectors/ each."""

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from cluster.records import Answer, Detection, Modality, Sample

# searched by name, so that the contract does not import the detectors that import it
DETECTORS = "deployments.detectors"
Infer = Callable[[list[Sample]], Any]
T = TypeVar("T")

# what says where models are and how long they stay: not for a detector whose models are elsewhere
OF_LOADED_MODELS = ("gpus", "gpu_memory_gb", "idle_s", "colocate")
Profile = Literal["embedded", "gpu"]
REMOTE = "remote"  # the backend that every detector has: another Raysift cluster answers


class Remote(BaseModel):
    """The cluster that answers for a detector whose backend is `remote`: its API, and what it is asked like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str  # https://gpus.example.com
    profile: Profile = "gpu"  # what that cluster runs the detector as
    user: str = ""  # of HTTP basic authentication
    password_file: Path | None = None  # on every node that a replica may run on
    ca_file: Path | None = None  # who signed its certificate; None: one of the public authorities
    max_in_flight: int = Field(4, ge=1)  # batches on their way, for each replica here: they hide the latency
    timeout_s: float = Field(300.0, gt=0)  # that nothing is heard of a batch; not for the whole of it

    @model_validator(mode="before")
    @classmethod
    def _read_renamed(cls, given: Any) -> Any:
        if isinstance(given, dict) and "at_once" in given:  # its name in version 0.1; read until 0.3
            return {"max_in_flight": given["at_once"], **{key: given[key] for key in given if key != "at_once"}}
        return given

    @field_validator("url")
    @classmethod
    def _of_an_api(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("it is no address of an API, like https://gpus.example.com")
        if "@" in parts.netloc:
            raise ValueError("it names a user; set user and password_file instead")
        return url.rstrip("/")

    @field_validator("password_file", "ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None

    @model_validator(mode="after")
    def _user_with_password(self) -> Self:
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file are set together")
        return self


class DetectorConfig(BaseModel):
    """The settings that every detector has; each adds its own.

    What depends on the backend stands in `defaults`, by the backend's name; an operator's own word goes before it.
    A field named `gallery` is given the place of that detector's reference pictures, `galleries` of the settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    enabled: bool = True
    backend: str = "embedded"
    model: str  # which weights, as weights() takes them; stored with every detection
    floor: float = Field(0.0, ge=0, le=1)  # weaker findings are not kept; a threshold above it is applied when asked
    replicas: int = Field(1, ge=0)  # at least; 0: none while nobody asks, the first request waits for the models
    # at most; None: as many as replicas. Serve wants two calls in flight for each, and a worker of a job makes two at a
    # time: a job alone scales a detector to about scanning.workers replicas, whatever is allowed here.
    max_replicas: int | None = Field(None, ge=1)
    upscale_delay_s: float = Field(5.0, gt=0)  # that requests queue before another replica starts
    downscale_delay_s: float = Field(120.0, gt=0)  # that a replica was too many before it ends
    downscale_to_zero_delay_s: float = Field(300.0, gt=0)  # the same for the last one, where replicas is 0
    deadline_s: float = Field(900.0, gt=0)  # a call that takes longer is given up and made again
    cpus: float = Field(0.1, gt=0)  # logical: a share of Ray's scheduling, not of a core
    gpus: float | None = Field(None, ge=0)  # of a card; None: what gpu_memory_gb needs of the card that is there
    gpu_memory_gb: float = Field(0.0, ge=0)  # weights, activations of its batch and 0.5 of context; 0: no card needed
    max_growth_gb: float = Field(4.0, gt=0)  # a replica whose memory, or card, grew by more since it loaded is replaced
    idle_s: float | None = Field(None, gt=0)  # after so long without a request its models are let go; None: never
    colocate: str = ""  # detectors that name the same thing here share a process, and what it has loaded
    remote: Remote | None = None  # with the backend `remote`: the cluster that answers, with its models and cards

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
        if profile not in get_args(Profile):  # not said; or wrong, which its own check says
            profile = Remote.model_fields["profile"].default
        there = cls.defaults.get(profile, {})
        elsewhere = {key: value for key, value in there.items() if key not in OF_LOADED_MODELS}
        return {**elsewhere, **given, "remote": remote}

    @field_validator("remote")
    @classmethod
    def _only_of_its_backend(cls, remote: Remote | None, info: ValidationInfo) -> Remote | None:
        if remote and info.data.get("backend") != REMOTE:
            raise ValueError(f"it is for the backend {REMOTE}; set backend: {REMOTE} beside it")
        # nothing may be heard for so long while a batch is sent, and again until it is answered; one that comes and
        # goes in small pieces may take longer still, and only deadline_s ends it
        if remote and 2 * remote.timeout_s > info.data.get("deadline_s", math.inf):
            raise ValueError("its timeout_s is more than half of deadline_s")
        return remote

    @field_validator(*OF_LOADED_MODELS)
    @classmethod
    def _not_of_a_remote(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("backend") == REMOTE:
            raise ValueError(f"it is for models that are loaded here, and the backend {REMOTE} loads none; remove it")
        return value

    @model_validator(mode="after")
    def _some_replica(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas is {self.max_replicas}, and replicas, the least, is {self.replicas}")
        return self

    @property
    def there(self) -> Self:
        """As it is where the models are, which may be another cluster: versions and states go by it."""
        return self.model_copy(update={"backend": self.remote.profile, "remote": None}) if self.remote else self

    @property
    def max_in_flight(self) -> int:
        """How many calls a replica works on at a time."""
        return self.remote.max_in_flight if self.remote else 1

    @property
    def most_replicas(self) -> int:
        """How many there are at most: one, where replicas is 0 and max_replicas is not set."""
        return self.max_replicas or max(1, self.replicas)

    @property
    def scales(self) -> bool:
        """Whether the number of replicas follows the requests."""
        return self.most_replicas > self.replicas


@dataclass(frozen=True, slots=True)
class DetectorResponse:
    """What was answered for a batch, one answer a sample in order, and what that cost."""

    answers: Sequence[Answer]
    seconds: float = 0.0  # that a replica worked on it
    gpu_seconds: float = 0.0  # of these, by the share of a card that the replica holds


class DetectorAway(Exception):
    """A detector did not answer for as long as the caller would wait. The others' answers are in `answered`."""

    def __init__(self, name: str, answered: Mapping[str, DetectorResponse] | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.answered = dict(answered or {})


class Detector(ABC):
    """Answers for samples. Making it loads its model, so it is made where it works; only name and config travel."""

    Config: ClassVar[type[DetectorConfig]]
    modalities: ClassVar[frozenset[Modality]]
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]]  # name -> what makes an Infer out of the config

    def __init__(self, config: Any, infer: Infer | None = None) -> None:
        self.config = config
        self.infer = infer or self.backends[config.backend](config)

    @classmethod
    def version(cls, config: Any) -> str:
        """What is stored as the model: files that another one has answered for are asked about again."""
        return str(config.model)

    @classmethod
    def state(cls, config: Any) -> str:
        """What else its answers depend on: one that is remembered is given again only where this is the same."""
        return repr(config.model_dump(exclude=set(DetectorConfig.model_fields)))

    @abstractmethod
    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """Answer once per sample, in order; an empty list says that nothing was found."""

    @classmethod
    @abstractmethod
    def example(cls) -> Sample:
        """A sample of its own making on which it finds something: for warm-up, readiness and the contract test."""


def by_modality(
    samples: list[Sample],
    pictures: Callable[[list[Sample]], Sequence[T]],
    texts: Callable[[list[Sample]], Sequence[T]],
) -> list[T]:
    """The answers of two functions, one for the pictures and one for the rest, in the order of the samples.

    Neither is asked about nothing.
    """
    shown = [sample for sample in samples if sample.pixels is not None]
    told = [sample for sample in samples if sample.pixels is None]
    of_shown, of_told = iter(pictures(shown) if shown else []), iter(texts(told) if told else [])
    return [next(of_shown if sample.pixels is not None else of_told) for sample in samples]


def names() -> list[str]:
    """Every detector there is, in order of the alphabet; none is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(DETECTORS).__path__))


def detector_class(name: str) -> type[Detector]:
    """The detector of that name. LookupError lists those there are."""
    if name not in names():
        raise LookupError(f"no detector {name!r}; there are {', '.join(names())}")
    module = importlib.import_module(f"{DETECTORS}.{name}")
    (found,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Detector) and thing.__module__ == module.__name__
    )
    return found
