"""Metrics and logs of a real scan: what Ray exports for Prometheus, and the lines of one job from all processes."""

import json
import re
import time

import httpx
import pytest

from cluster.metrics.declared import METRICS
from cluster.processes import Processes
from cluster.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500)]

EXPORT_S = 60  # Ray's processes send their values every ten seconds
# of GPUs and other clusters, or of what this scan need not have met
LATER = ("gpu_", "remote_", "out_of_memory", "events", "left_out", "detector_probes", "chroma_request", "app_")


def exported(cluster):
    """What the targets in Ray's file for Prometheus export."""
    settings = Settings(state_dir=cluster.environment["RAYSIFT_STATE_DIR"])
    (targets,) = json.loads((Processes(settings).ray_temp / "prom_metrics_service_discovery.json").read_text())
    texts = []
    for target in targets["targets"]:
        try:
            texts.append(httpx.get(f"http://{target}/metrics", timeout=10, trust_env=False).text)
        except httpx.HTTPError:  # of the dashboard or the autoscaler, which need not listen
            continue
    return "\n".join(texts)


def test_prometheus_gets_the_metrics_of_a_scan_without_names_of_files(cluster, scanned):
    wanted = {metric.exported for metric in METRICS if not metric.name.removeprefix("raysift_").startswith(LATER)}
    wanted |= {metric.total.exported for metric in METRICS if metric.total and metric.exported in wanted}
    deadline = time.monotonic() + EXPORT_S
    while True:
        text = exported(cluster)
        there = set(re.findall(r"^# TYPE (ray_raysift_\w+)", text, re.MULTILINE))
        ours = [line for line in text.splitlines() if line.startswith("ray_raysift_")]
        units = sum(float(line.rsplit(" ", 1)[1]) for line in ours if line.startswith("ray_raysift_units_total{"))
        if (wanted <= there and units >= scanned[1]["units"]) or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert wanted - there == set()
    assert units >= scanned[1]["units"]
    assert not any(name in line for line in ours for name in ("astronaut", "broken.jpg", scanned[1]["job"]))


def test_the_state_of_the_cluster_has_its_node_its_detectors_and_their_counts(cluster, scanned):
    deadline = time.monotonic() + EXPORT_S
    with cluster.api() as api:
        while True:
            state = api.get("/v1/cluster").raise_for_status().json()
            loads = {load["name"]: load for load in state["detectors"]}
            if (not state["unread"] and loads["ocr"]["replicas"]) or time.monotonic() > deadline:
                break
            time.sleep(2)
    (node,) = state["nodes"]
    assert node["head"] and node["alive"] and node["memory_total"] and node["store_total"]
    assert (loads["ocr"]["state"], loads["ocr"]["replicas"]) == ("ok", 1)
    assert state["jobs"]["running"] == 0 and state["silent"] == [] and state["unread"] == []


def test_the_lines_of_a_job_are_gathered_from_its_driver_and_the_replicas_without_names_of_files(cluster, scanned):
    job = scanned[1]["job"]
    done = cluster.raysift("logs", "--job", job)
    assert done.returncode == 0, done.stderr
    files = re.findall(r"^==> \S+ \S+ (\S+)", done.stderr, re.MULTILINE)
    for part in ("job-driver-", "serve/replica_raysift_analysis_", "serve/replica_raysift_ocr_"):
        assert any(file.startswith(part) for file in files), (part, files)
    assert "astronaut" not in done.stdout and "broken.jpg" not in done.stdout
