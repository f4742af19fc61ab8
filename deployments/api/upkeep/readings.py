"""The state of the cluster, from Ray's list of nodes, what they export, and the health of the detectors."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import ray

from cluster.api_types import DetectorHealth
from cluster.metrics import exported
from cluster.metrics.exported import Exported, NodeUse, Work
from cluster.upkeep.api_types import CardState, ClusterState, DetectorLoad, NodeState, Unread
from deployments.api.upkeep.newest import Newest
from deployments.serving.health import Readiness

T = TypeVar("T")
RATE_S, RATE_MOST_S = 9.0, 60.0  # rates are over so long: nodes write new values every ten seconds
HEAD = "node:__internal_head__"  # the resource by which Ray marks its head


class ClusterReadings:
    """Answers what `GET /v1/cluster` shows within two waits of `Newest`, whatever is down."""

    def __init__(
        self,
        readiness: Readiness,
        names: Iterable[str],
        dashboard_url: str,
        nodes: Callable[[], list[Mapping[str, Any]]] | None = None,
        read: Callable[[Sequence[str]], Exported] = exported.read,
    ) -> None:
        """`names`: of the detectors. `nodes`: as ray.nodes(), which hangs while Ray's head is away."""
        self._names, self._dashboard_url = list(names), dashboard_url
        self._list, self._read = nodes or _nodes, read
        # a thread for each question: one that hangs must not hold up the other, or FastAPI's own threads
        self._listing, self._reading = (ThreadPoolExecutor(1, name) for name in ("nodes", "exported"))
        self._nodes = Newest("Ray's list of nodes", lambda: _in(self._listing, self._list))
        self._exported = Newest("the metrics of the nodes", self._read_all)
        self._health = Newest("the health of the detectors", readiness.detectors)
        self._former: deque[Exported] = deque()

    async def state(self) -> ClusterState:
        """The state now, and which parts of it could not be asked."""
        has_nodes, has_health = await asyncio.gather(self._nodes.look(), self._health.look())
        has_metrics = bool(self._nodes.value) and await self._exported.look()
        asked: dict[Unread, bool] = {"nodes": has_nodes, "metrics": has_metrics, "health": has_health}
        now = self._exported.value or Exported()
        known = self._exported.value is not None
        files_per_s, samples = now.rates(self._before(now))
        return ClusterState(
            nodes=tuple(_node(node, now.nodes) for node in self._nodes.value or ()),
            cards=tuple(
                CardState(name=c.name, node=c.node, use=c.use, memory_used=c.memory_used, memory_total=c.memory_total)
                for c in now.cards
            ),
            detectors=tuple(self._load(name, now if known else None, samples) for name in self._names),
            jobs={state: int(n) for state, n in now.jobs.items()} or None,
            files_per_s=files_per_s,
            unread=tuple(part for part, has in asked.items() if not has),
            silent=now.silent,
            age_s=time.monotonic() - now.at if known else None,
            dashboard_url=self._dashboard_url,
        )

    async def on_gpu(self) -> dict[str, bool] | None:
        """Whether each detector that has replicas has one on a GPU; None: not known now."""
        await self._nodes.look()
        if self._nodes.value:
            await self._exported.look()
        now = self._exported.value
        if now is None:
            return None
        return {name: name in now.gpu_memory for name in self._names if now.work.get(name, Work()).replicas}

    async def _read_all(self) -> Exported:
        nodes = [node for node in self._nodes.value or () if node["Alive"]]
        targets = [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in nodes]
        now = await _in(self._reading, lambda: self._read(targets))
        self._former.append(now)
        while now.at - self._former[0].at > RATE_MOST_S:
            self._former.popleft()
        return now

    def _before(self, now: Exported) -> Exported | None:
        """An earlier reading of the same nodes: counters of a node that was silent would seem to begin at 0."""
        earlier = (each for each in self._former if each.silent == now.silent and each.nodes.keys() == now.nodes.keys())
        return next((each for each in earlier if now.at - each.at >= RATE_S), None)

    def _load(self, name: str, now: Exported | None, samples: Mapping[str, float]) -> DetectorLoad:
        health: DetectorHealth | None = (self._health.value or {}).get(name)
        state, message = (health.state, health.message) if health else (None, "")
        if now is None:
            return DetectorLoad(name=name, state=state, message=message)
        work, lookups = now.work.get(name, Work()), now.lookups.get(name)
        return DetectorLoad(
            name=name,
            state=state,
            message=message,
            replicas=int(work.replicas),
            waiting=int(work.waiting),
            working=int(work.working),
            samples_per_s=samples.get(name),
            cache_hits=now.hits[name] / lookups if lookups else None,
            gpu_memory=now.gpu_memory.get(name),
        )


async def _in(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _nodes() -> list[Mapping[str, Any]]:
    return list(ray.nodes()) if ray.is_initialized() else []  # Serve's local testing mode


def _node(node: Mapping[str, Any], used: Mapping[str, NodeUse]) -> NodeState:
    """A node of Ray's list, with what it exports."""
    has, use = node["Resources"], used.get(node["NodeManagerAddress"]) if node["Alive"] else None
    use = use or NodeUse()
    return NodeState(
        name=node["NodeManagerHostname"],
        address=node["NodeManagerAddress"],
        alive=node["Alive"],
        head=HEAD in has,
        cpus=has.get("CPU", 0.0),
        gpus=has.get("GPU", 0.0),
        cpu_use=use.cpu,
        memory_used=use.memory_used,
        memory_total=use.memory_total,
        disk_free=use.disk_free,
        disk_total=_sum(use.disk_free, use.disk_used),
        store_used=use.store_used,
        store_total=_sum(use.store_free, use.store_used),
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
