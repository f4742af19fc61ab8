"""One job and one request, each followed through all processes of a cluster in one trace, at a real collector."""

import json

import pytest

from cluster.records import asset_id
from cluster.traces.spans import trace_id
from deployments.detector import names
from tests.support.cluster import Cluster, environment
from tests.support.servers.otlp import collector

pytestmark = pytest.mark.chaos

DETECTORS = ("barcode", "nsfw")
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
    "detector": "batch",
    "inference": "detector",
}
REQUEST = {"POST /v1/analyze": "", "decode": "POST /v1/analyze", "detector": "POST /v1/analyze"}
REQUEST |= {"inference": "detector"}
SERVICES = {"raysift-driver", "raysift-analysis", "raysift-tasks", "raysift-detectors"}


def parents(spans, trace):
    """The name of each span of a trace -> that of the span which it is a part of."""
    names = {span.id: span.name for span in spans}
    return {span.name: names.get(span.parent, "?") if span.parent else "" for span in spans if span.trace == trace}


@pytest.mark.timeout(400)
def test_a_job_and_a_request_have_one_trace_each_through_all_processes(tmp_path, media):
    others = {f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name not in DETECTORS}
    with collector(tmp_path) as (url, backend):
        cluster = Cluster(environment(tmp_path / "state", RAYSIFT_TRACES__ENDPOINT=url, **others))
        try:
            started = cluster.raysift("up")
            assert started.returncode == 0, started.stderr
            pictures = [str(media / name) for name in PICTURES]
            done = cluster.raysift("scan", *pictures, "--out", str(tmp_path / "found"), "--json")
            job = json.loads(done.stdout.splitlines()[-1])["job"]
            with cluster.api() as api, (media / PICTURES[0]).open("rb") as picture:
                answer = api.post("/v1/analyze", files={"file": ("case-7.png", picture)})
            request = answer.raise_for_status().headers["X-Request-ID"]
            backend.until(lambda spans: REQUEST.items() <= parents(spans, trace_id(request)).items())
            arrived = backend.until(lambda spans: JOB.items() <= parents(spans, trace_id(job)).items())
            logged = cluster.raysift("logs", "--job", job)
        finally:
            cluster.raysift("down")
    assert {span.service for span in arrived if span.trace == trace_id(job)} == SERVICES
    assets = {span.attributes["asset"] for span in arrived if span.name == "fetch"}
    assert assets == {asset_id((media / name).as_uri()) for name in PICTURES}
    written = str([span.attributes for span in arrived])
    assert "case-7.png" not in written and str(media) not in written
    assert logged.stderr.splitlines()[-1] == f"its trace: {trace_id(job)}"
