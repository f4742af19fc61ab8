"""What operators see and do: traces and logs by id, metrics, dashboards, and an upgrade under load."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bench.soak.figures import Requests
from bench.soak.users import browse, one_scan, probe, running, search, upload
from cluster.metrics.declared import METRICS
from cluster.records import asset_id
from cluster.traces.spans import trace_id
from tests.chaos.conftest import pages, until
from tests.chaos.operating import DETECTORS, Operated, operated, outline, pictures
from tests.monitoring import drawing as dashboards
from tests.support.browser import Visit, chromium
from tests.support.models import tiny
from tests.support.paths import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

PICTURES = ("astronaut.png", "coffee.png")
JOB = {
    "job": "",
    "list": "job",
    "analyze": "job",
    "reconcile": "job",
    "report": "job",
    "batch": "analyze",
    "write": "analyze",
    "fetch": "batch",
    "decode": "batch",
    "decoder": "decode",
    "detector": "batch",
    "inference": "detector",
}
REQUEST = {"POST /v1/analyze": "", "decode": "POST /v1/analyze", "detector": "POST /v1/analyze"}
REQUEST |= {"decoder": "decode", "inference": "detector"}
SERVICES = {"raysift-driver", "raysift-analysis", "raysift-tasks", "raysift-detectors"}
LOADED_S = 150.0
EXPORT_S = 60.0  # Ray's processes send their values every ten seconds
GRADES = ["neutral", "low", "medium", "high"]
USERS = (upload, browse, search, probe)
# what needs a GPU or another cluster, or a fault that this file does not provoke
ABSENT = ("gpu", "remote_request", "out_of_memory", "raysift_events", "health_check_failures", "gpus_utilization")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """The watched cluster, whose code and settings the last test changes."""
    with operated(tmp_path_factory.mktemp("operating")) as running_cluster:
        one_scan(running_cluster.settings, Requests(), running_cluster.home, 0)  # for searches to find something
        yield running_cluster


def parents(spans, trace):
    """The name of each span of a trace -> that of the span which it is a part of."""
    names = {span.id: span.name for span in spans}
    return {span.name: names.get(span.parent, "?") if span.parent else "" for span in spans if span.trace == trace}


def quoted(name: str, lines: list[str]) -> None:
    """Write lines for the docs, if a folder is named."""
    if folder := pictures():
        (folder / name).write_text("\n".join(lines) + "\n")


def test_a_job_and_a_request_have_one_trace_each_through_all_processes(cluster, media):
    files = [str(media / name) for name in PICTURES]
    done = cluster.cluster.raysift("scan", *files, "--out", str(cluster.home / "found"), "--json")
    job = json.loads(done.stdout.splitlines()[-1])["job"]
    with cluster.cluster.api() as api, (media / PICTURES[0]).open("rb") as picture:
        answer = api.post("/v1/analyze", files={"file": ("case-7.png", picture)})
    request = answer.raise_for_status().headers["X-Request-ID"]
    cluster.traces.until(lambda spans: REQUEST.items() <= parents(spans, trace_id(request)).items())
    arrived = cluster.traces.until(lambda spans: JOB.items() <= parents(spans, trace_id(job)).items())
    own = [span for span in arrived if span.trace == trace_id(job)]  # and not those of the scan before
    assert {span.service for span in own} == SERVICES
    assets = {span.attributes["asset"] for span in own if span.name == "fetch"}
    assert assets == {asset_id((media / name).as_uri()) for name in PICTURES}
    written = str([span.attributes for span in arrived])
    assert "case-7.png" not in written and str(media) not in written
    decoders = [span for span in arrived if span.name == "decoder"]
    assert all(span.attributes["process"] != span.process and span.attributes["worked_s"] > 0 for span in decoders)
    shown = []
    for kind, id, wanted in (("job", job, "job-driver-"), ("request", request, "serve/replica_raysift_api_")):
        logged = cluster.cluster.raysift("logs", f"--{kind}", id)
        assert logged.returncode == 0 and wanted in logged.stderr, logged.stderr
        assert logged.stderr.splitlines()[-1] == f"its trace: {trace_id(id)}"
        assert "case-7.png" not in logged.stdout and "astronaut" not in logged.stdout
        shown += [f"$ raysift logs --{kind} {id}", logged.stderr, logged.stdout, *outline(arrived, trace_id(id)), ""]
    quoted("followed.txt", shown)


def test_every_metric_that_an_alert_or_a_dashboard_asks_for_is_emitted(cluster, media):
    files = shutil.copytree(media, cluster.home / "files")  # broken ones, a film, speech and a letter among them
    done = cluster.cluster.raysift("scan", str(files), "--out", str(cluster.home / "found"))
    assert done.returncode == 3, done.stderr  # some files failed
    look_at_the_app(cluster)
    with cluster.cluster.api() as api:
        api.get("/v1/ready")
        api.get("/v1/search", params={"q": "an astronaut"}).raise_for_status()
    rules = (ROOT / "monitoring" / "alerts.yaml").read_text()
    queries = rules + json.dumps(dashboards.boards())
    wanted = {name for name in re.findall(r"\bray_\w+", queries) if not any(part in name for part in ABSENT)}
    assert len(wanted) > len(METRICS)
    there: set[str] = set()

    def emitted() -> bool:
        found = cluster.prometheus.query('group by (__name__) ({__name__=~"ray_.+"})')
        there.update(series["metric"]["__name__"] for series in found)
        return wanted <= there

    deadline = time.monotonic() + EXPORT_S
    while not emitted() and time.monotonic() < deadline:
        time.sleep(2)
    assert wanted - there == set()


def test_the_dashboards_show_a_scan_uploads_and_searches(cluster, tmp_path):
    since, requests = time.time(), Requests()
    with running(cluster.settings, requests, cluster.home):
        for _ in range(3):
            look_at_the_app(cluster)
        until(lambda: time.time() > since + LOADED_S, "")
    folder = pictures() or tmp_path
    for name, board in dashboards.boards().items():
        empty = dashboards.draw(
            board, lambda query: cluster.prometheus.over(query, since, time.time()), folder / f"{name}.png"
        )
        print(f"{name}: no data for {empty}")
        panels = {panel["title"]: json.dumps(panel["targets"]) for panel in board["panels"] if panel["type"] != "row"}
        without = [*ABSENT, "5xx", '!=\\"answered', "failing|silent", "raysift_failures", "left_out", '=\\"hit']
        assert [title for title in empty if not any(part in panels[title] for part in without)] == []
    assert requests.scans and requests.failures == {} and requests.unfinished == []


def test_a_new_model_threshold_and_code_are_taken_up_under_load_without_a_failed_request(cluster, tmp_path):
    until(lambda: status(cluster)["jobs"] == [], "a job of an earlier test does not end")
    shown = status(cluster)
    assert all(part["runs"] for part in shown["parts"].values()) and shown["cards"] is not None
    assert {name: health["replicas"] for name, health in shown["detectors"].items()} == dict.fromkeys(DETECTORS, 1)
    before = detectors(cluster)
    model = tiny.timm_classifier(tmp_path / "model", GRADES)
    nsfw = {"backend": "gpu", "model": f"file:{model}", "floor": 0.01}
    (cluster.code / "settings.yaml").write_text(yaml.safe_dump({"detectors": {"nsfw": nsfw}}))
    file = cluster.code / "deployments" / "detectors" / "barcode.py"
    changed = file.read_text().replace(
        """model: str = f"zxing-cpp {""", """model: str = f"zxing-cpp, another version {"""
    )
    assert changed != file.read_text()
    file.write_text(changed)
    requests = Requests()
    with running(cluster.settings, requests, cluster.home, USERS):
        until(lambda: requests.asked > 40, "nobody is answered")
        began = time.monotonic()
        done = cluster.cluster.raysift("upgrade")
        took_s, asked = time.monotonic() - began, requests.asked
        assert done.returncode == 0, done.stderr
        until(lambda: requests.asked > asked + 40, "nobody is answered after the upgrade")
    after = detectors(cluster)
    slowest = max(figures[-1] for _, figures in requests.routes())
    print(f"upgraded in {took_s:.0f} s; {requests.asked} requests, {requests.failed} failed, p99 {slowest:.0f} ms")
    assert requests.failures == {}
    assert after["nsfw"] == (f"file:{model}", 0.01) != before["nsfw"]
    assert after["barcode"][0].startswith("zxing-cpp, another version") and after["clip"] == before["clip"]
    folder = pages(cluster.home / "pages", "upgrade", 3)
    done = cluster.cluster.raysift("scan", str(folder), "--out", str(cluster.home / "new"), "--json")
    assert done.returncode == 0, done.stderr
    found = cluster.cluster.export(str(cluster.home / "new"))
    models = {one["detector"]: one["model"] for line in found.values() for one in line["detections"]}
    assert models["nsfw"] == f"file:{model}"


def look_at_the_app(cluster: Operated) -> None:
    """Open a page of the app in a browser, which measures its first paint."""
    with cluster.cluster.api() as api, chromium() as browser:
        session = api.post("/v1/session", json={"token": cluster.cluster.key_file.read_text()}).raise_for_status()
        visit = Visit(browser, cluster.cluster.url("APP__"), session=session.json()["token"])
        with visit.page.expect_response("**/api/first-paint", timeout=60_000):
            visit.open("/search")
        visit.close()


def status(cluster: Operated) -> dict[str, Any]:
    """What `raysift status` tells programs."""
    return dict(json.loads(cluster.cluster.raysift("status", "--json").stdout))


def detectors(cluster: Operated) -> dict[str, tuple[str, float]]:
    """The model and the floor of each detector, as the API names them."""
    with cluster.cluster.api() as api:
        listed = api.get("/v1/detectors").raise_for_status().json()
    return {one["name"]: (one["model"], one["floor"]) for one in listed}
