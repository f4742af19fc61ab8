"""The settings: defaults < settings.yaml < RAYSIFT_... in the environment. Unknown keys are refused."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableSettings
from yaml import YAMLError

from cluster import renamed
from cluster.access.limits import Limits
from cluster.access.oidc import Oidc
from cluster.access.rules import PURPOSE_VARIABLE, AccessRules
from cluster.access.tokens import KEY_VARIABLES
from cluster.decisions.rules import ReviewRules
from cluster.errors import SettingsError
from cluster.exposure.exposure import ExposureRules
from cluster.logs.settings import Logs
from cluster.storage.filesystems import normalize, split
from cluster.storage.retention import Retention
from cluster.traces.settings import Traces
from cluster.webhooks.endpoint import Webhooks

Profile = Literal["embedded", "gpu"]  # small models that run on the CPU, or large ones

PREFIX, FILE = "RAYSIFT_", "settings.yaml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(_Part):
    """Where a server listens. Beyond 127.0.0.1, keep it behind nginx or a firewall: it has no TLS of its own."""

    host: str = "127.0.0.1"
    port: int

    @property
    def url(self) -> str:
        """The server's URL for its clients: on this machine, if it listens on all addresses."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"


class WebListener(Listener):
    """A server that may also be reached through a proxy, under the proxy's host names."""

    names: tuple[str, ...] = Field((), description="host names that it accepts, besides its own")

    @field_validator("names", mode="after")
    @classmethod
    def _plain(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} is not a plain host name: write it without port, path or *")
        return tuple(name.lower() for name in names)


class ApiListener(WebListener):
    """The HTTP API."""

    port: int = 8000
    replicas: int = Field(1, ge=1, description="API processes, each on a node of its own: of 2, one may fail")


class ChromaListener(Listener):
    """The vector store's server."""

    port: int = 8001
    token: str | None = Field(None, repr=False, pattern=r"^[!-~]+$", description="None: one made from Ray's token")


class AppListener(WebListener):
    """The web app."""

    port: int = 8501


class RayCluster(_Part):
    """The Ray cluster: the local one of `raysift up`, or one of another launcher."""

    cluster: str = Field(
        "raysift", min_length=1, description="its name; clusters that share results need different ones"
    )
    gcs_port: int = Field(6380, description="the port of its address, 127.0.0.1:PORT")
    dashboard_port: int = Field(8265, description="dashboard and Jobs API; needs the token of state_dir/ray_token")
    cpus: int | None = Field(None, description="logical CPUs; None: as many as the machine has, at least 4")
    object_store_mb: int = Field(500, description="shared memory for frames that are sent to the detectors")
    card_gb: float | None = Field(None, gt=0, description="memory of the smallest GPU; None: of this machine's")

    @property
    def dashboard_url(self) -> str:
        """The URL of the dashboard and the Jobs API; only this machine can reach it."""
        return f"http://127.0.0.1:{self.dashboard_port}"


class Decoding(_Part):
    """What is extracted from a file, and the limits of size and length."""

    frames_per_s: float = Field(1.0, gt=0, description="frames sampled from a video, besides the first of every shot")
    max_side_px: int = Field(1600, ge=64, description="larger frames are scaled to this; see docs/formats.md for tiles")
    max_pixels: int = Field(200_000_000, description="a picture that declares more is refused before it is decoded")
    max_bytes: int = Field(20_000_000_000, description="a larger file is refused before it is fetched")
    max_duration_s: float = Field(36_000, description="a longer recording is refused")
    # measured at 720p: compression changes a cell of a still scene by at most 5, a new line of 14 px text by 10 or more
    same_below: float = Field(6.0, description="a frame is the same if no cell differs by more grey levels")
    chunk_frames: int = Field(16, ge=1, description="frames in flight to the detectors, for each worker")
    segment_s: float = Field(60, gt=0, description="longer videos are cut, at key frames, into units of about this")
    decoder_timeout_s: float = Field(120, gt=0, description="a decoder silent for so long is stopped: its file failed")


class Scanning(_Part):
    """What jobs may read and write, how a job is divided and when it fails."""

    roots: tuple[str, ...] = Field(
        (), description="folders and buckets that jobs may read: /data/media, s3://bucket/cases; empty: none"
    )
    exclude: tuple[str, ...] = Field((), description="patterns of names that jobs leave out, such as *.tmp, .git")
    outs: tuple[str, ...] = Field((), description="where jobs may store results, besides results_uri")
    workers: int = Field(1, ge=1, description="processes that fetch and decode; more than one start with the load")
    worker_cpus: float = Field(0.1, gt=0, description="Ray CPUs that each reserves; with autoscaled nodes about 1")
    max_failed_share: float = Field(1.0, ge=0, le=1, description="a job with a larger share of failed files exits 1")
    attempts: int = Field(4, ge=1, description="attempts to fetch a file before it is stored as failed")
    detector_timeout_s: float = Field(3600, ge=0, description="how long a job waits for an absent detector, then stops")
    max_jobs: int = Field(2, ge=1, description="jobs that run at a time, of each priority; the others wait")
    resumes: int = Field(3, ge=0, description="consecutive restarts of a job whose driver dies early")

    @field_validator("roots", "outs", mode="after")
    @classmethod
    def _normalized(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for uri in uris:
                split(uri)
                if uri.startswith("~"):
                    raise SettingsError(f"{uri}: `~` is not expanded here. Write the folder's absolute path.")
            normalized = tuple(map(normalize, uris))
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return normalized  # on a worker's machine a relative path means another folder


class Cache(_Part):
    """The cache of detectors' answers by content: equal files are analysed once."""

    redis_url: str | None = Field(None, description="redis://host:port/0 of all nodes; None: a file on each node")
    max_mb: int = Field(2000, ge=1, description="of the file; the least recently used entries are removed first")
    days: float = Field(30, gt=0, description="that Redis keeps an answer that is not read")


class Prices(_Part):
    """Prices per hour, in your currency, for estimates and reports of jobs; 0: no costs are shown."""

    cpu_hour: float = Field(0.0, ge=0, description="of one CPU core")
    gpu_hour: float = Field(0.0, ge=0, description="of one whole GPU")

    @property
    def known(self) -> bool:
        """Whether any price is set."""
        return bool(self.cpu_hour or self.gpu_hour)

    def of(self, cpu_seconds: float, gpu_seconds: float) -> float:
        """The cost of so many seconds of CPU cores and of whole GPUs."""
        return (cpu_seconds * self.cpu_hour + gpu_seconds * self.gpu_hour) / 3600


class Models(_Part):
    """The sources of weights that are not part of an installed package."""

    offline: bool = Field(False, description="use no model hub: only packages, files, the cache and the mirror")
    mirror: str | None = Field(None, description="a folder or bucket that `raysift models pull` has filled")
    cache: Path | None = Field(None, description="the folder of downloaded weights; None: ~/.cache/raysift/models")

    @field_validator("mirror", mode="after")
    @classmethod
    def _from_here(cls, mirror: str | None) -> str | None:
        return normalize(mirror) if mirror else None  # on a replica's machine a relative path means another

    @field_validator("cache", mode="after")
    @classmethod
    def _absolute(cls, cache: Path | None) -> Path | None:
        return cache.expanduser().absolute() if cache else None


class Settings(BaseSettings):
    """All settings of Raysift."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", yaml_file=FILE, extra="forbid", frozen=True
    )

    profile: Profile = Field("embedded", description="the backend of every detector that has it")
    state_dir: Path = Field(Path(".raysift"), description="tokens, logs, the catalogue, Chroma's folder")
    results_uri: str = Field("", description="where scans without --out store; empty: state_dir/results")
    s3_endpoint_url: str | None = Field(None, description="an S3 other than Amazon's; default: AWS_ENDPOINT_URL")
    ray: RayCluster = RayCluster()
    api: ApiListener = ApiListener()
    chroma: ChromaListener = ChromaListener()
    app: AppListener = AppListener()
    decoding: Decoding = Decoding()
    scanning: Scanning = Scanning()
    cache: Cache = Cache()
    retention: Retention = Retention()
    prices: Prices = Prices()
    models: Models = Models()
    access: AccessRules = AccessRules()
    review: ReviewRules = ReviewRules()
    exposure: ExposureRules = ExposureRules()
    webhooks: Webhooks = Field((), description="who is told of the end of jobs, and of hits")
    limits: Limits = Limits()
    logs: Logs = Logs()
    traces: Traces = Traces()
    oidc: Oidc | None = Field(None, description="a provider whose people may sign in: cluster/access/oidc.py")
    galleries_uri: str = Field("", description="reference pictures by detector; empty: state_dir/galleries")
    detectors: dict[str, dict[str, Any]] = Field({}, description="by name; each detector checks its own keys")

    @model_validator(mode="before")
    @classmethod
    def _read_renamed(cls, values: dict[str, Any]) -> dict[str, Any]:
        renamed.rename_keys(values)
        return values

    @property
    def results(self) -> str:
        """The URI of the results of jobs without a place of their own."""
        return self.results_uri or (self.state_dir.absolute() / "results").as_uri()

    @property
    def galleries(self) -> str:
        """The URI of the operator's reference pictures: logos, people, restraints."""
        return self.galleries_uri or (self.state_dir.absolute() / "galleries").as_uri()

    @property
    def s3_endpoint(self) -> str | None:
        """The URL of the S3 server; None: Amazon's."""
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
        """The sources by precedence, without .env and secrets files: a key is set in one of two places."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load() -> Settings:
    """Read the settings of this process. SettingsError names the first wrong key and says what to do."""
    renamed.rename_variables(PREFIX)
    for variable in sorted(os.environ.keys() - {*KEY_VARIABLES, PURPOSE_VARIABLE}):
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
    except (YAMLError, UnreadableSettings, AttributeError, TypeError, ValueError) as error:
        advice = f"Correct it: {FILE} has lines of the form `key: value`, in UTF-8."  # the last three: it has not
        raise SettingsError(f"{FILE} or the environment cannot be read: {error}. {advice}") from None


def explain(error: ValidationError, where: str) -> str:
    """The first error of a validation as one sentence that names the key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {key!r}. Correct its spelling or remove it."
    return f"{where}: {key!r} is wrong: {first['msg'].lower()}. Correct it."
