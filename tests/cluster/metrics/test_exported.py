"""What nodes export is read: work by detector, counters, cards, the use of nodes."""

import httpx
import pytest

from cluster.metrics import exported
from cluster.metrics.exported import Exported, NodeUse, UsedCard, Work, add, read

EXPORTED = """
# TYPE ray_serve_deployment_replica_healthy gauge
ray_serve_deployment_replica_healthy{application="raysift",deployment="barcode+clip",replica="a"} 1.0
ray_serve_deployment_queued_queries{deployment="ocr",handle="d"} 4.0
ray_serve_deployment_queued_queries{deployment="ocr",handle="e"} 1.0
ray_serve_replica_processing_queries{deployment="ocr",replica="b"} 2.0
ray_raysift_detector_samples_total{detector="ocr"} 120.0
ray_raysift_units_total{kind="image",outcome="done"} 30.0
ray_raysift_units_total{kind="image",outcome="failed"} 1.0
ray_raysift_cache_lookups_total{detector="ocr",outcome="hit"} 1.0
ray_raysift_cache_lookups_total{detector="ocr",outcome="miss"} 3.0
ray_raysift_jobs{state="waiting"} 2.0
ray_raysift_gpu_memory_bytes{detectors="barcode+clip"} 1000.0
ray_node_cpu_utilization{ip="10.0.0.1"} 25.0
ray_node_mem_used{ip="10.0.0.1"} 4000.0
ray_node_mem_total{ip="10.0.0.1"} 8000.0
ray_node_disk_free{ip="10.0.0.1"} 600.0
ray_node_disk_usage{ip="10.0.0.1"} 400.0
ray_object_store_used_memory{NodeAddress="10.0.0.1"} 10.0
ray_object_store_available_memory{NodeAddress="10.0.0.1"} 90.0
ray_node_gpus_utilization{GpuDeviceName="L4",GpuIndex="1",ip="10.0.0.1"} 25.0
ray_node_gram_used{GpuDeviceName="L4",GpuIndex="1",ip="10.0.0.1"} 2000.0
ray_node_gram_available{GpuDeviceName="L4",GpuIndex="1",ip="10.0.0.1"} 22000.0
ray_tasks{State="RUNNING"} 12.0
"""


def test_work_counters_and_cards_of_a_node_are_read():
    found = Exported()
    add(found, EXPORTED)
    assert found.work["ocr"] == Work(0, 5, 2) and found.jobs == {"waiting": 2}
    assert (found.files, found.samples, found.hits, found.lookups) == (31, {"ocr": 120}, {"ocr": 1}, {"ocr": 4})
    assert found.gpu_memory == {"barcode": 1000, "clip": 1000}
    mib = 1 << 20
    assert found.cards == [UsedCard("L4 1", 0.25, 2000 * mib, 24000 * mib, "10.0.0.1")]
    assert found.nodes == {"10.0.0.1": NodeUse(0.25, 4000, 8000, 600, 400, 10, 90)}


def test_detectors_that_share_a_deployment_share_its_queue_and_counters_are_added():
    found = Exported()
    add(found, EXPORTED)
    add(found, EXPORTED)
    assert found.work["barcode"].replicas == found.work["clip"].replicas == 2
    assert found.files == 62 and found.samples == {"ocr": 240}


def test_only_lines_that_are_needed_are_parsed(monkeypatch: pytest.MonkeyPatch):
    parsed = []
    monkeypatch.setattr(
        "prometheus_client.parser.text_string_to_metric_families", lambda text: parsed.append(text) or []
    )
    add(Exported(), EXPORTED + "\n".join(f'ray_tasks{{State="{n}"}} 1.0' for n in range(10_000)))
    assert "ray_tasks" not in parsed[0] and len(parsed[0].splitlines()) == 21


def test_a_node_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    def answer(url: str, **_: object) -> httpx.Response:
        if "10.0.0.2" in url:
            raise httpx.ConnectError("nothing listens there")
        return httpx.Response(200, text=EXPORTED, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", answer)
    found = read(["10.0.0.1:8080", "10.0.0.2:8080"])
    assert found.silent == ("10.0.0.2:8080",) and found.files == 31
    assert exported.read([]).silent == ()
