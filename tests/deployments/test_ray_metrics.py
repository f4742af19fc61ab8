"""What reaches Ray's metrics, and the names under which Ray exports them."""

import subprocess
import sys

import pytest

from cluster.metrics import declared
from deployments import ray_metrics
from deployments.ray_metrics import RaySink
from tests.cluster.metrics.recorded import recorded

# Ray's own recorder of a node's agent, which needs no cluster; a process may have one only
EXPORT = """
import prometheus_client
from ray._private.telemetry.open_telemetry_metric_recorder import OpenTelemetryMetricRecorder
from cluster.metrics.declared import METRICS
recorder = OpenTelemetryMetricRecorder()
for metric in (*METRICS, *(metric.total for metric in METRICS if metric.total)):
    labels = dict.fromkeys(metric.labels, "x")
    more = ([*metric.buckets],) if metric.kind == "histogram" else ()
    getattr(recorder, f"register_{metric.kind}_metric")(metric.name, metric.help, *more)
    recorder.set_metric_value(metric.name, labels, 1.0)
print(prometheus_client.generate_latest().decode())
"""


def test_ray_exports_each_metric_under_the_name_that_alerts_and_dashboards_use():
    done = subprocess.run([sys.executable, "-c", EXPORT], capture_output=True, text=True, check=True)
    kinds = dict(line.split()[2:] for line in done.stdout.splitlines() if line.startswith("# TYPE ray_"))
    totals = {metric.total.exported: "counter" for metric in declared.METRICS if metric.total}
    assert kinds == {metric.exported: metric.kind for metric in declared.METRICS} | totals


@pytest.fixture
def made(monkeypatch):
    """What is made in Ray, as (name, ..., labels), and recorded there, as (name, value)."""
    calls = []

    class Made:
        def __init__(self, name, *more):
            self.name = name
            calls.append((name, *more))

        def record(self, value, labels):
            calls.append((self.name, value))

        inc = set = observe = record

    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(ray_metrics.metrics, kind, Made)
    return calls


@pytest.mark.parametrize("metric", [declared.UNITS, declared.CHROMA_UP, declared.BATCH_SAMPLES])
def test_each_kind_is_made_in_ray_once_and_recorded_there(metric, made):
    sink = RaySink()
    for value in (1.0, 2.0):
        sink(metric, value, dict.fromkeys(metric.labels, "x"))
    assert made[0][0] == metric.name and made[0][-1] == metric.labels
    assert made[1:] == [(metric.name, 1.0), (metric.name, 2.0)]


def test_the_seconds_of_a_histogram_are_added_up_in_a_counter_too(made):
    sink = RaySink()
    for value in (0.0, 1.1):
        sink(declared.DETECTOR_SECONDS, value, {"detector": "ocr"})
    total = [call[-1] for call in made if call[0] == "raysift_detector_time_seconds_total"]
    assert total == [("detector",), 1.1]
    assert [metric.name for metric in declared.METRICS if metric.buckets and not metric.total] == [
        "raysift_detector_batch_samples"
    ]


def test_events_of_memory_have_a_metric_of_their_own():
    with recorded() as values:
        for event in ("out of memory: batch halved", "out of memory: one item does not fit", "models let go"):
            ray_metrics.report_event(event, 1)
    assert [(name, *labels.values()) for name, _, labels in values] == [
        ("raysift_out_of_memory_total", "halved"),
        ("raysift_out_of_memory_total", "failed"),
        ("raysift_events_total", "models let go"),
    ]
