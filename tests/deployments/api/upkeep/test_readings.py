"""The state of the cluster is answered within a second, whatever hangs, with what could not be asked."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cluster.api_types import DetectorHealth, DetectorState
from cluster.metrics.exported import Exported, NodeUse, UsedCard, Work
from cluster.upkeep.api_types import ClusterState
from deployments.api.upkeep import newest
from deployments.api.upkeep.readings import HEAD, ClusterReadings

URL = "http://127.0.0.1:8265"
NODES: list[Mapping[str, Any]] = [
    {
        "NodeManagerHostname": name,
        "NodeManagerAddress": address,
        "MetricsExportPort": 8080,
        "Alive": alive,
        "Resources": resources,
    }
    for name, address, alive, resources in (
        ("head", "10.0.0.1", True, {"CPU": 4.0, "GPU": 1.0, HEAD: 1.0}),
        ("gone", "10.0.0.2", False, {}),
    )
]
OK = {"ocr": DetectorHealth(state=DetectorState.OK, message="it answers")}


class Health:
    """Readiness whose detectors answer after `delay_s`."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s

    async def detectors(self) -> dict[str, DetectorHealth]:
        await asyncio.sleep(self.delay_s)
        return OK


class Nodes:
    """Exporters of nodes: each reading has 100 samples more, ten seconds later. `asked`: the targets."""

    def __init__(self) -> None:
        self.readings: list[Exported] = []
        self.asked: list[list[str]] = []

    def read(self, targets: Sequence[str]) -> Exported:
        n = len(self.readings)
        self.asked.append(list(targets))
        reading = Exported(
            at=time.monotonic() + 10 * n,
            work={"ocr": Work(2, 5, 3)},
            samples={"ocr": 100.0 * (n + 1)},
            files=10.0 * n,
            cards=[UsedCard("L4 0", 0.5, 6e9, 24e9, "10.0.0.1")],
            nodes={"10.0.0.1": NodeUse(0.25, 4e9, 8e9, 6e9, 4e9, 1e9, 3e9)},
            jobs={"waiting": 2.0, "running": 1.0},
            gpu_memory={"ocr": 2e9},
        )
        reading.lookups["ocr"], reading.hits["ocr"] = 4.0, 1.0
        self.readings.append(reading)
        return reading


def readings(**more: Any) -> ClusterReadings:
    given = {"readiness": Health(), "nodes": lambda: NODES, "read": Nodes().read} | more
    return ClusterReadings(names=["ocr", "whisper"], dashboard_url=URL, **given)


async def timed(of: ClusterReadings) -> ClusterState:
    began = time.monotonic()
    state = await of.state()
    assert time.monotonic() - began < 0.9
    return state


@pytest.mark.anyio
async def test_nodes_cards_detectors_and_jobs_are_read():
    nodes = Nodes()
    state = await timed(readings(read=nodes.read))
    assert nodes.asked == [["10.0.0.1:8080"]], "a node that is gone is not asked"
    head, gone = state.nodes
    assert (head.name, head.head, head.alive, head.cpus, head.gpus) == ("head", True, True, 4, 1)
    assert (head.memory_total, head.disk_total, head.store_total) == (8e9, 10e9, 4e9)
    assert (gone.alive, gone.cpu_use, gone.disk_total) == (False, None, None)
    assert (state.cards[0].use, state.cards[0].memory_total) == (0.5, 24e9)
    assert state.jobs == {"waiting": 2, "running": 1}
    ocr, whisper = state.detectors
    assert (ocr.state, ocr.replicas, ocr.waiting, ocr.working, ocr.cache_hits) == ("ok", 2, 5, 3, 0.25)
    assert (whisper.state, whisper.replicas, whisper.cache_hits) == (None, 0, None)
    assert (state.unread, state.silent, state.dashboard_url) == ((), (), URL)


@pytest.mark.anyio
async def test_rates_are_over_the_time_between_two_readings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(newest, "VALID_S", 0.0)
    of = readings()
    assert (await of.state()).files_per_s is None
    state = await of.state()
    assert state.files_per_s == pytest.approx(1.0, abs=0.01)
    assert state.detectors[0].samples_per_s == pytest.approx(10.0, abs=0.1)


@pytest.mark.anyio
@pytest.mark.parametrize("hangs", ["nodes", "read", "readiness"])
async def test_a_part_that_hangs_is_named_and_holds_up_nobody(hangs: str):
    until = threading.Event()
    stuck = {
        "nodes": {"nodes": lambda: until.wait(20) and []},
        "read": {"read": lambda targets: until.wait(20) and Exported()},
        "readiness": {"readiness": Health(20)},
    }
    of = readings(**stuck[hangs])
    try:
        for _ in range(2):
            state = await timed(of)
            named = {"nodes": ("nodes", "metrics"), "read": ("metrics",), "readiness": ("health",)}
            assert state.unread == named[hangs]
            assert [load.name for load in state.detectors] == ["ocr", "whisper"]
    finally:
        until.set()


@pytest.mark.anyio
async def test_a_head_that_goes_away_leaves_the_last_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(newest, "VALID_S", 0.1)
    monkeypatch.setattr(newest, "FRESH_S", 0.5)
    away = False

    def nodes() -> list[Mapping[str, Any]]:
        if away:
            raise ConnectionError("the head is away")
        return NODES

    of = readings(nodes=nodes)
    assert (await of.state()).unread == ()
    away = True
    await asyncio.sleep(0.2)
    assert (await timed(of)).unread == (), "a value is given a while without a word"
    await asyncio.sleep(0.5)
    state = await timed(of)
    assert state.unread == ("nodes",) and len(state.nodes) == 2 and state.detectors[0].waiting == 5


@pytest.mark.anyio
async def test_callers_share_one_question():
    nodes = Nodes()
    of = readings(read=nodes.read)
    await asyncio.gather(*(of.state() for _ in range(20)))
    assert len(nodes.readings) == 1


@pytest.mark.anyio
async def test_what_runs_on_a_gpu_is_known_of_detectors_with_replicas():
    assert await readings().on_gpu() == {"ocr": True}
    assert await readings(nodes=list).on_gpu() is None
