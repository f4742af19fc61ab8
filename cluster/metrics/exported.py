"""What nodes export for Prometheus, read directly: queues, work, cards, nodes; for `raysift status` and the app."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cluster.metrics.declared import CACHE_LOOKUPS, DETECTOR_SAMPLES, GPU_MEMORY, JOBS, UNITS
from cluster.records import COLOCATED

NODE_S = 3.0  # without a byte of a node's answer
MB = 1 << 20
AT_A_TIME = 16  # nodes

# beginnings of the lines that are read: one node of a busy cluster exports 10,000, which take 1.6 s to parse
_READ = (
    "ray_serve_deployment_replica_healthy",
    "ray_serve_deployment_queued_queries",
    "ray_serve_replica_processing_queries",
    "ray_node_",
    "ray_object_store_",
    *(metric.exported for metric in (DETECTOR_SAMPLES, UNITS, JOBS, CACHE_LOOKUPS, GPU_MEMORY)),
)


@dataclass(slots=True)
class Work:
    """The work of a deployment's replicas: how many there are, the calls that wait for one and those in one."""

    replicas: float = 0
    waiting: float = 0
    working: float = 0


@dataclass(frozen=True, slots=True)
class UsedCard:
    """A GPU in use. `use`: share of its time, 0 to 1. Memory in bytes; None: unknown. `node`: its address."""

    name: str
    use: float
    memory_used: float
    memory_total: float | None = None
    node: str = ""


@dataclass(slots=True)
class NodeUse:
    """How much of a node is in use, in bytes but for `cpu`, a share from 0 to 1; None: it does not say so."""

    cpu: float | None = None
    memory_used: float | None = None
    memory_total: float | None = None
    disk_free: float | None = None
    disk_used: float | None = None
    store_used: float | None = None  # of Ray's object store
    store_free: float | None = None


@dataclass(slots=True)
class Exported:
    """The values of all nodes at one time, up to ten seconds old. Counters count since the start of their processes."""

    at: float = field(default_factory=time.monotonic)
    work: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))  # by detector, or another deployment
    samples: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # counted, by detector
    files: float = 0  # counted
    cards: list[UsedCard] = field(default_factory=list)
    nodes: dict[str, NodeUse] = field(default_factory=lambda: defaultdict(NodeUse))  # by address
    jobs: dict[str, float] = field(default_factory=dict)  # that are not over, by state
    hits: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # counted: answers from the cache
    lookups: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # counted: answers asked of it
    gpu_memory: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # bytes, by detector on a GPU
    silent: tuple[str, ...] = ()  # targets that did not answer

    def rates(self, before: "Exported | None") -> tuple[float | None, dict[str, float]]:
        """Files a second, and by detector samples a second, since an earlier look; None and nothing without one."""
        if before is None or self.at <= before.at:
            return None, {}
        # a counter of a process that has ended goes away with it
        seconds = self.at - before.at
        samples = {name: max(0.0, n - before.samples.get(name, 0.0)) / seconds for name, n in self.samples.items()}
        return max(0.0, self.files - before.files) / seconds, samples


def read(targets: Sequence[str]) -> Exported:
    """What all nodes export now. `targets`: HOST:PORT of each node's exporter."""
    found = Exported()
    if targets:
        with ThreadPoolExecutor(min(AT_A_TIME, len(targets))) as threads:
            texts = dict(zip(targets, threads.map(_text, targets), strict=True))
        for text in filter(None, texts.values()):
            add(found, text)
        found.silent = tuple(target for target, text in texts.items() if text is None)
    return found


def _text(target: str) -> str | None:
    """What a node exports; None if it does not answer."""
    import httpx  # only now: `raysift --help` does not wait for it

    try:
        return httpx.get(f"http://{target}/metrics", timeout=NODE_S, trust_env=False).raise_for_status().text
    except httpx.HTTPError:
        return None


def add(found: Exported, text: str) -> None:
    """Add what one node exports."""
    from prometheus_client.parser import text_string_to_metric_families

    lines = "\n".join(line for line in text.splitlines() if line.startswith(_READ))
    values = defaultdict[str, list[tuple[Mapping[str, str], float]]](list)
    for family in text_string_to_metric_families(f"{lines}\n"):
        for sample in family.samples:
            values[sample.name].append((sample.labels, sample.value))
    _add_work(found, values)
    _add_counts(found, values)
    _add_node(found, values)
    _add_cards(found, values)


_Values = Mapping[str, Iterable[tuple[Mapping[str, str], float]]]


def _add_work(found: Exported, values: _Values) -> None:
    for name, key in (
        ("ray_serve_deployment_replica_healthy", "replicas"),
        ("ray_serve_deployment_queued_queries", "waiting"),
        ("ray_serve_replica_processing_queries", "working"),
    ):
        for labels, value in values[name]:
            for part in labels.get("deployment", "").split(COLOCATED):
                setattr(found.work[part], key, getattr(found.work[part], key) + value)


def _add_counts(found: Exported, values: _Values) -> None:
    for labels, value in values[DETECTOR_SAMPLES.exported]:
        found.samples[labels["detector"]] += value
    for labels, value in values[CACHE_LOOKUPS.exported]:
        found.lookups[labels["detector"]] += value
        found.hits[labels["detector"]] += value if labels["outcome"] == "hit" else 0.0
    for labels, value in values[GPU_MEMORY.exported]:
        for part in labels["detectors"].split(COLOCATED):
            found.gpu_memory[part] += value
    found.files += sum(value for _, value in values[UNITS.exported])
    found.jobs.update({labels["state"]: value for labels, value in values[JOBS.exported]})


def _add_node(found: Exported, values: _Values) -> None:
    for name, key, unit in (
        ("ray_node_cpu_utilization", "cpu", 0.01),
        ("ray_node_mem_used", "memory_used", 1.0),
        ("ray_node_mem_total", "memory_total", 1.0),
        ("ray_node_disk_free", "disk_free", 1.0),
        ("ray_node_disk_usage", "disk_used", 1.0),
        ("ray_object_store_used_memory", "store_used", 1.0),
        ("ray_object_store_available_memory", "store_free", 1.0),
    ):
        for labels, value in values[name]:
            setattr(found.nodes[labels.get("ip") or labels.get("NodeAddress", "")], key, value * unit)


def _add_cards(found: Exported, values: _Values) -> None:
    def by_card(name: str) -> dict[tuple[str, str], tuple[float, str]]:
        return {
            (labels.get("GpuDeviceName", "GPU"), labels.get("GpuIndex", "")): (value, labels.get("ip", ""))
            for labels, value in values[name]
        }

    used, free = by_card("ray_node_gram_used"), by_card("ray_node_gram_available")
    for card, (percent, node) in by_card("ray_node_gpus_utilization").items():
        memory = used.get(card, (0.0, ""))[0] * MB
        total = memory + free[card][0] * MB if card in free else None
        found.cards.append(UsedCard(" ".join(card).strip(), percent / 100, memory, total, node))
