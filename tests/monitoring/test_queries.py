"""The alert rules and dashboards: every query uses metrics and labels that exist."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from cluster.metrics.declared import METRICS
from tests.support.paths import ROOT

FOLDER = ROOT / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARDS = [json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))]
PANELS = [panel for board in DASHBOARDS for panel in board["panels"] if panel["type"] != "row"]
QUERIES = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
OURS = {
    name: {*metric.labels, *(("le",) if name.endswith("_bucket") else ())}
    for metric in METRICS
    for name in ([f"{metric.exported}_bucket", f"{metric.exported}_count"] if metric.buckets else [metric.exported])
} | {metric.total.exported: {*metric.labels} for metric in METRICS if metric.total}
RAYS = {
    name: {"deployment", "application", "replica", "instance", "le"}
    for row in re.findall(r"^\| `ray_(?!raysift).*$", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    for name in re.findall(r"`(ray_\w+)`", row)
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_query_uses_metrics_and_labels_that_exist(query):
    known = OURS | RAYS
    names = re.findall(r"\bray_\w+", query)
    assert names and set(names) <= known.keys()
    for name, matchers in re.findall(r"\b(ray_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known[name], name
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}
    assert grouped <= set().union(*(known[name] for name in names))
    counters = [name for name in names if name in OURS and name.endswith("_total")]
    others = re.sub(r"(ray_\w+(?:\{[^}]*\})?)\s+unless \1 offset \w+", "", query)  # than series that are new
    assert not any(re.search(rf"(?<!rate\()(?<!increase\(){name}\b", others) for name in counters)


def test_every_metric_of_raysift_is_on_a_dashboard():
    shown = set(re.findall(r"\bray_\w+", " ".join(target["expr"] for panel in PANELS for target in panel["targets"])))
    assert {
        metric.exported for metric in METRICS if not any(name.startswith(metric.exported) for name in shown)
    } == set()


def test_the_metrics_of_ray_that_are_used_are_those_of_the_installed_ray():
    package = Path(find_spec("ray").origin).parent
    files = [*(package / "serve" / "_private").glob("*.py"), package / "dashboard/modules/reporter/reporter_agent.py"]
    source = "".join(file.read_text() for file in files)
    assert RAYS and {name for name in RAYS if f'"{name.removeprefix("ray_")}"' not in source} == set()


def test_every_alert_says_what_to_do_and_has_a_case_in_which_it_is_raised():
    cases = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    raised = {check["alertname"] for case in cases for check in case["alert_rule_test"] if check["exp_alerts"]}
    assert raised == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "action", "runbook"}
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_a_dashboard_names_its_source_and_its_panels_do_not_overlap():
    assert len({board["uid"] for board in DASHBOARDS}) == len(DASHBOARDS) == 3
    for board in DASHBOARDS:
        places = [
            (x, y)
            for at in (panel["gridPos"] for panel in board["panels"])
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(places) == len(set(places)) and max(x for x, _ in places) < 24
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(panel["datasource"]["uid"] == "${source}" for panel in PANELS)
