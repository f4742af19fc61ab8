"""The types of the HTTP API's routes for the state of the cluster, its settings and models."""

from typing import Literal

from cluster.api_types import Answer, DetectorState
from cluster.records import JobState

Unread = Literal["nodes", "metrics", "health"]
Device = Literal["cpu", "gpu", "remote"]
Value = str | float | int | bool | tuple[str, ...] | None


class NodeState(Answer):
    """A node of the Ray cluster. Sizes in bytes, `cpu_use` from 0 to 1; null: the node does not say so now."""

    name: str
    address: str
    alive: bool
    head: bool
    cpus: float = 0  # that Ray may give away
    gpus: float = 0
    cpu_use: float | None = None
    memory_used: float | None = None
    memory_total: float | None = None
    disk_free: float | None = None
    disk_total: float | None = None
    store_used: float | None = None  # of Ray's object store, which holds frames on their way to detectors
    store_total: float | None = None


class CardState(Answer):
    """A GPU. `use`: share of its time, 0 to 1. Memory in bytes; null: unknown."""

    name: str
    node: str  # its address
    use: float
    memory_used: float
    memory_total: float | None


class DetectorLoad(Answer):
    """A detector's health and work; null: not known now. Detectors that share a deployment share its calls."""

    name: str
    state: DetectorState | None
    message: str  # why it has this state
    replicas: int | None = None
    waiting: int | None = None  # calls that wait for a replica
    working: int | None = None  # calls that replicas work on
    samples_per_s: float | None = None
    cache_hits: float | None = None  # share of answers that came from the cache, 0 to 1
    gpu_memory: float | None = None  # bytes, of its replicas on GPUs


class ClusterState(Answer):
    """Nodes, GPUs, detectors and jobs as they are now. What could not be asked is named, and keeps its last values."""

    nodes: tuple[NodeState, ...]
    cards: tuple[CardState, ...]
    detectors: tuple[DetectorLoad, ...]
    jobs: dict[JobState, int] | None  # that are not over; null: not known now
    files_per_s: float | None  # that scans analyse
    unread: tuple[Unread, ...]  # parts that did not answer in time
    silent: tuple[str, ...]  # HOST:PORT of nodes whose metrics could not be read
    age_s: float | None  # of the metrics, which nodes write every ten seconds; null: there are none yet
    dashboard_url: str  # of Ray, on the head's own loopback address


class WeightsState(Answer):
    """Weights of a detector, as the machine of the API finds them."""

    title: str
    origin: str  # package, file, bucket, cache, mirror, hub or nowhere: from where they would be loaded
    there: bool
    licence: str | None
    revision: str | None
    bytes: int | None
    missing: str  # a sentence: what is missing, and what to do


class ModelState(Answer):
    """The model of a detector, and where it runs. `device` null: no replica says so now."""

    detector: str
    model: str
    floor: float | None
    backend: str
    device: Device | None
    weights: tuple[WeightsState, ...]


class SettingState(Answer):
    """A setting as the API has it. `variable`: in the environment, where it takes precedence over settings.yaml."""

    key: str
    value: Value
    variable: str
