"""The one tree of settings: defaults < settings.yaml < RAYSIFT_... in the environment. Unknown keys are refused."""

import logging
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableSettings
from yaml import YAMLError

from cluster.errors import SettingsError
from cluster.storage.filesystems import normalize, split

Profile = Literal["embedded", "gpu"]  # small models that run on the CPU, or large ones

PREFIX = "RAYSIFT_"
FILE = "settings.yaml"

# keys of version 0.1 -> the keys that replace them; the old ones are still read, until version 0.3
RENAMED = {
    "door": "api",
    "decoding.stall_s": "decoding.decoder_timeout_s",
    "scanning.patience_s": "scanning.detector_timeout_s",
    "scanning.at_once": "scanning.max_jobs",
}

log = logging.getLogger(__name__)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Part):
    """Where a server listens. Beyond 127.0.0.1 everybody who reaches the port may read every result."""

    host: str = "127.0.0.1"
    port: int

    @property
    def url(self) -> str:
        """Where its clients ask: a server that listens on all addresses is asked on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"


class WebListener(Listener):
    """A server that people or programs may reach through a proxy, under the proxy's names."""

    names: tuple[str, ...] = Field((), description="host names that it answers to, beside its own")

    @field_validator("names", mode="after")
    @classmethod
    def _plain(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} is no host name alone: write it without port, path or *")
        return tuple(name.lower() for name in names)


class ApiListener(WebListener):
    """The HTTP API."""

    port: int = 8000
    replicas: int = Field(
        1, ge=1, description="processes that answer, each on a node of its own: one may die unnoticed"
    )


class ChromaListener(Listener):
    """The vector store's server."""

    port: int = 8001


class AppListener(WebListener):
    """The web app."""

    port: int = 8501


class RayCluster(_Part):
    """The local Ray that `raysift up` starts, or the larger one that another launcher did."""

    cluster: str = Field(
        "raysift", min_length=1, description="its name: clusters that share results must not have the same"
    )
    gcs_port: int = Field(6380, description="its address is this port on 127.0.0.1")
    dashboard_port: int = Field(8265, description="dashboard and Jobs API; needs the token of state_dir/ray_token")
    cpus: int | None = Field(None, description="logical CPUs; None: as many as the machine has, at least 4")
    object_store_mb: int = Field(500, description="shared memory for frames on their way to the detectors")
    card_gb: float | None = Field(
        None, gt=0, description="the smallest card of the cluster's nodes; None: the cards of this machine"
    )

    @property
    def dashboard_url(self) -> str:
        """Where this machine reaches the dashboard and the Jobs API; other machines cannot."""
        return f"http://127.0.0.1:{self.dashboard_port}"


class Decoding(_Part):
    """What is taken out of a file, and how much of one is too much."""

    frames_per_s: float = Field(1.0, gt=0, description="frames sampled from a video, besides the first of every shot")
    max_side_px: int = Field(1600, ge=64, description="larger frames are scaled down to this before any detector")
    max_pixels: int = Field(200_000_000, description="a picture that declares more is refused before it is decoded")
    max_bytes: int = Field(20_000_000_000, description="a larger file is refused before it is fetched")
    max_duration_s: float = Field(36_000, description="a longer recording is refused")
    # measured at 720p: compression alone makes 5 at most of a still scene, another line of 14 px text 10 at least
    same_below: float = Field(6.0, description="a frame none of whose cells differs by more grey levels is the same")
    chunk_frames: int = Field(16, ge=1, description="frames in flight to the detectors at a time, for each worker")
    segment_s: float = Field(60, gt=0, description="longer videos are cut, at key frames, into units of about this")
    decoder_timeout_s: float = Field(
        120, gt=0, description="a decoder that gives nothing for so long is stopped: the file's fault"
    )


class Scanning(_Part):
    """What jobs may read and write, how a job is cut and when it has failed."""

    roots: tuple[str, ...] = Field(
        (), description="folders and buckets that jobs may read: /data/media, s3://bucket/cases; empty: none"
    )
    outs: tuple[str, ...] = Field((), description="where jobs may store results, beside results_uri")
    workers: int = Field(2, ge=1, description="files analysed at a time, each by its own Ray actor")
    worker_cpus: float = Field(
        0.1, gt=0, description="what each asks of Ray's CPUs: where nodes come with the load, what it takes, about 1"
    )
    units_per_block: int = Field(4, ge=1, description="files committed together; a kill loses at most this, per worker")
    max_failed_share: float = Field(1.0, ge=0, le=1, description="a job with a larger share of failed files exits 1")
    attempts: int = Field(4, ge=1, description="tries to fetch a file before its row says that it cannot be had")
    detector_timeout_s: float = Field(
        3600, ge=0, description="a job waits so long for a detector that is away, then it stops"
    )
    max_jobs: int = Field(2, ge=1, description="jobs that run at a time, of each priority; the others wait")
    resumes: int = Field(3, ge=0, description="times running that a job is started again whose driver died young")

    @field_validator("roots", "outs", mode="after")
    @classmethod
    def _normalized(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for uri in uris:
                split(uri)
                if uri.startswith("~"):
                    raise SettingsError(f"{uri}: `~` is not replaced here. Write the folder's whole path.")
            normalized = tuple(map(normalize, uris))
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return normalized  # a worker runs elsewhere, where a relative path means another folder


class Cache(_Part):
    """What was answered for a content before, whatever its name: not computed again."""

    redis_url: str | None = Field(
        None, description="redis://host:port/0, shared by all nodes; None: a file on each node"
    )
    max_mb: int = Field(2000, ge=1, description="of the file; what was not used for longest goes first")
    days: float = Field(30, gt=0, description="that Redis keeps an answer nobody asks for")


class Prices(_Part):
    """What an hour costs, in your currency, for the estimates and the reports of jobs; 0: costs are not told."""

    cpu_hour: float = Field(0.0, ge=0, description="of one CPU core")
    gpu_hour: float = Field(0.0, ge=0, description="of one whole card")

    @property
    def known(self) -> bool:
        """Whether there is any."""
        return bool(self.cpu_hour or self.gpu_hour)

    def of(self, cpu_seconds: float, gpu_seconds: float) -> float:
        """What that much work costs: of cores, and of whole cards."""
        return (cpu_seconds * self.cpu_hour + gpu_seconds * self.gpu_hour) / 3600


class Models(_Part):
    """Where weights come from that no installed package carries."""

    offline: bool = Field(False, description="ask no model hub: only packages, files, the cache and the mirror")
    mirror: str | None = Field(None, description="a folder or bucket that `raysift models pull` has filled")
    cache: Path | None = Field(None, description="where fetched weights are kept; None: ~/.cache/raysift/models")

    @field_validator("mirror", mode="after")
    @classmethod
    def _from_here(cls, mirror: str | None) -> str | None:
        return normalize(mirror) if mirror else None  # a replica runs elsewhere, where a relative path means another

    @field_validator("cache", mode="after")
    @classmethod
    def _absolute(cls, cache: Path | None) -> Path | None:
        return cache.expanduser().absolute() if cache else None


class Settings(BaseSettings):
    """Everything that an operator may set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", yaml_file=FILE, extra="forbid", frozen=True
    )

    profile: Profile = Field("embedded", description="the backend of every detector that has it")
    state_dir: Path = Field(Path(".raysift"), description="tokens, logs, the catalogue, Chroma's folder")
    results_uri: str = Field("", description="where scans store when --out is not given; empty: state_dir/results")
    s3_endpoint_url: str | None = Field(None, description="an S3 that is not Amazon's; default: AWS_ENDPOINT_URL")
    ray: RayCluster = RayCluster()
    api: ApiListener = ApiListener()
    chroma: ChromaListener = ChromaListener()
    app: AppListener = AppListener()
    decoding: Decoding = Decoding()
    scanning: Scanning = Scanning()
    cache: Cache = Cache()
    prices: Prices = Prices()
    models: Models = Models()
    galleries_uri: str = Field("", description="reference pictures, a folder a detector; empty: state_dir/galleries")
    detectors: dict[str, dict[str, Any]] = Field({}, description="by name; each detector checks its own keys")

    @model_validator(mode="before")
    @classmethod
    def _read_renamed(cls, values: dict[str, Any]) -> dict[str, Any]:
        for old, new in RENAMED.items():
            *parents, key = old.split(".")
            part: Any = values
            for parent in parents:
                part = part.get(parent) if isinstance(part, dict) else None
            if isinstance(part, dict) and key in part:
                log.warning("setting %s is called %s now", old, new)
                value, name = part.pop(key), new.rsplit(".", 1)[-1]
                both = isinstance(value, dict) and isinstance(part.get(name), dict)
                part[name] = value | part[name] if both else part.get(name, value)
        return values

    @property
    def results(self) -> str:
        """Where results go when nobody said where."""
        return self.results_uri or (self.state_dir.absolute() / "results").as_uri()

    @property
    def galleries(self) -> str:
        """Where the operator's reference pictures are kept: logos, people, restraints."""
        return self.galleries_uri or (self.state_dir.absolute() / "galleries").as_uri()

    @property
    def s3_endpoint(self) -> str | None:
        """The S3 server to talk to, None for Amazon's own."""
        return self.s3_endpoint_url or os.environ.get("AWS_ENDPOINT_URL")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources by precedence. Without .env and secrets files: what sets a key is one of two places."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def _rename_variables() -> None:
    """Give the environment variables of renamed settings their new names, unless the new one is set too."""
    for old, new in RENAMED.items():
        before, now = (PREFIX + key.replace(".", "__").upper() for key in (old, new))
        for variable in [name for name in os.environ if name == before or name.startswith(f"{before}__")]:
            renamed = now + variable.removeprefix(before)
            log.warning("environment variable %s is called %s now", variable, renamed)
            os.environ.setdefault(renamed, os.environ.pop(variable))


def load() -> Settings:
    """The settings of this process. SettingsError names the first key that is wrong and says what to do."""
    _rename_variables()
    for variable in os.environ:
        key = variable.removeprefix(PREFIX).split("__")[0].lower()
        if variable.startswith(PREFIX) and key not in Settings.model_fields:
            raise SettingsError(
                f"environment variable {variable}: there is no setting {key!r}; there are "
                f"{', '.join(Settings.model_fields)}. Correct or unset it."
            )
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(explain(error, f"{FILE} or the environment")) from None
    except (YAMLError, UnreadableSettings) as error:
        raise SettingsError(f"{FILE} or the environment cannot be read: {error}. Correct it.") from None


def explain(error: ValidationError, where: str) -> str:
    """The first complaint of a validation as one sentence with the key in it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {key!r}. Correct its spelling or remove it."
    return f"{where}: {key!r} is wrong: {first['msg'].lower()}. Correct it."
