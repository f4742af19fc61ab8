"""What the nodes export for Prometheus, read directly: the queues, work and cards of `raysift status` and `top`."""

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cluster.metrics.declared import DETECTOR_SAMPLES, UNITS
from cluster.processes import Processes
from cluster.settings import Settings

TARGETS = "prom_metrics_service_discovery.json"  # of Ray, in its temporary folder
RAY_UP = Path("/tmp/ray")  # that folder on a cluster of `ray up`
NODE_S = 3.0
JOINED = "+"  # joins the names of detectors that share a deployment
MB = 1 << 20


@dataclass(slots=True)
class Work:
    """The work of a deployment's replicas: how many there are, the calls that wait for one and those in one."""

    replicas: float = 0
    waiting: float = 0
    working: float = 0


@dataclass(slots=True)
class Exported:
    """The values of all nodes at one time, up to ten seconds old. `files`, `samples`: counted since the start."""

    at: float = field(default_factory=time.monotonic)
    work: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))  # by detector, or another deployment
    samples: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by detector
    files: float = 0
    cards: list[tuple[str, float, float]] = field(default_factory=list)  # name, share in use, GB of memory in use

    def rates(self, before: "Exported | None") -> tuple[float | None, dict[str, float]]:
        """Files a second, and by detector samples a second, since an earlier look; None and nothing without one."""
        if before is None or self.at <= before.at:
            return None, {}
        # a counter of a process that has ended goes away with it
        seconds = self.at - before.at
        samples = {name: max(0.0, n - before.samples.get(name, 0.0)) / seconds for name, n in self.samples.items()}
        return max(0.0, self.files - before.files) / seconds, samples


def look(settings: Settings) -> Exported | None:
    """What all nodes export now, on the head; None where Ray has written no list of its nodes."""
    import httpx  # only now, as in `add`: `raysift --help` does not wait for it

    folders = (Processes(settings).ray_temp, RAY_UP)
    lists = [folder / TARGETS for folder in folders if (folder / TARGETS).exists()]
    if not lists:
        return None
    found = Exported()
    for target in (target for group in json.loads(lists[0].read_text()) for target in group["targets"]):
        try:
            answer = httpx.get(f"http://{target}/metrics", timeout=NODE_S, trust_env=False).raise_for_status()
        except httpx.HTTPError:  # the dashboard's and the autoscaler's need not listen
            continue
        add(found, answer.text)
    return found


def add(found: Exported, text: str) -> None:
    """Add what one node exports."""
    from prometheus_client.parser import text_string_to_metric_families

    memory = dict[tuple[str, str], float]()
    use = dict[tuple[str, str], float]()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels, value = sample.labels, sample.value
            name, card = sample.name, (labels.get("GpuDeviceName", "GPU"), labels.get("GpuIndex", ""))
            for part in labels.get("deployment", "").split(JOINED):
                match name:
                    case "ray_serve_deployment_replica_healthy":
                        found.work[part].replicas += value
                    case "ray_serve_deployment_queued_queries":
                        found.work[part].waiting += value
                    case "ray_serve_replica_processing_queries":
                        found.work[part].working += value
            match name:
                case DETECTOR_SAMPLES.exported:
                    found.samples[labels["detector"]] += value
                case UNITS.exported:
                    found.files += value
                case "ray_node_gpus_utilization":
                    use[card] = value / 100
                case "ray_node_gram_used":
                    memory[card] = value * MB / 1e9
    for card, share in use.items():
        found.cards.append((" ".join(card).strip(), share, memory.get(card, 0.0)))
