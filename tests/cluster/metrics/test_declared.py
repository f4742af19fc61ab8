"""The declaration of the metrics: naming conventions, documentation, and what Ray's exporter makes of it."""

import re

import pytest

from cluster.metrics.__main__ import table
from cluster.metrics.declared import METRICS
from tests.support.paths import ROOT


def test_the_page_lists_every_metric_as_it_is_declared():
    assert table() in (ROOT / "docs" / "metrics.md").read_text(), "python -m cluster.metrics prints the table"


def test_names_follow_the_conventions_of_prometheus():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"raysift_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"_(ms|mb|gb|minutes|percent)\b", metric.name)
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert [*metric.buckets] == sorted(metric.buckets)


@pytest.mark.parametrize("label", ["uri", "file", "job", "person", "key", "user", "path", "reason", "error", "le"])
def test_no_label_holds_evidence_or_values_without_bound(label):
    assert [metric.name for metric in METRICS if label in metric.labels] == []


def test_every_metric_is_recorded_somewhere():
    sources = "".join(
        path.read_text()
        for folder in ("cluster", "deployments", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "declared.py"
    )
    from cluster.metrics import declared

    names = {name for name, value in vars(declared).items() if isinstance(value, declared.Metric)}
    assert {name for name in names if not re.search(rf"\b{name}\b", sources)} == set()
