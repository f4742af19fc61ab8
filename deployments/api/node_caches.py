"""Erasing of cached answers on every node of the cluster, for `raysift people purge`."""

import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster import cache, erasures
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.settings import Settings

NODE_S = 30.0  # for a node to start a worker and erase its file


def erase_caches(
    settings: Settings, nodes: Sequence[Mapping[str, Any]], on_node: Callable[[str, Settings], int]
) -> ErasedCaches:
    """Erase the cache files of `nodes`, as ray.nodes() lists them, and Redis.

    `on_node` takes a node's id, erases its file and returns how many entries there were. The mark is written first, so
    that a node that is down erases its file itself when it is back.
    """
    erasures.demand(settings)
    alive = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes if node["Alive"]}
    tasks: list[tuple[str, Callable[[], int]]] = [(host, partial(on_node, id, settings)) for id, host in alive.items()]
    if settings.cache.redis_url:
        tasks.append(("Redis", cache.open_cache(settings).clear))
    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(lambda task: _outcome(task[1]), tasks))
    places = [place for place, _ in tasks]
    by_place = list(zip(places, outcomes, strict=True))
    return ErasedCaches(
        entries={place: outcome for place, outcome in by_place if isinstance(outcome, int)},
        failed={place: outcome for place, outcome in by_place if isinstance(outcome, str)},
        away=sorted({node["NodeManagerHostname"] for node in nodes} - set(alive.values())),
    )


def erase_cluster(settings: Settings) -> ErasedCaches:
    """Erase the caches of the cluster that this process is in; without Ray, those of this machine."""
    if not ray.is_initialized():  # Serve's local testing mode
        here = {"NodeID": "", "NodeManagerHostname": socket.gethostname(), "Alive": True}
        return erase_caches(settings, [here], lambda id, settings: cache.erase_file(settings))
    return erase_caches(settings, ray.nodes(), _on_node)


def _on_node(id: str, settings: Settings) -> int:
    there = NodeAffinitySchedulingStrategy(id, soft=False)
    task = _erase_file.options(scheduling_strategy=there).remote(settings)
    return int(ray.get(task, timeout=NODE_S))


@ray.remote(num_cpus=0, max_retries=0)
def _erase_file(settings: Settings) -> int:
    return cache.erase_file(settings)


def _outcome(erase: Callable[[], int]) -> int | str:
    """The number of entries that were erased, or the last line of the error."""
    try:
        return erase()
    except (SettingsError, RayError, TimeoutError, OSError) as error:
        return str(error).strip().splitlines()[-1][:300] if str(error).strip() else type(error).__name__
