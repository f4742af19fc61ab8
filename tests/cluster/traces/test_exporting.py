"""Spans reach a real collector, in a process of its own, by OTLP over HTTP."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from cluster.traces.settings import Traces
from tests.support.servers.otlp import collector

EXPORTS = """
import sys
from cluster.traces import exporting, spans
from cluster.traces.settings import Traces
exporting.start(Traces(endpoint=sys.argv[1]), "driver")
with spans.span("job", id="scan-1"), spans.span("list", files=3):
    pass
"""


def test_a_collector_gets_the_spans_of_a_process_that_ends_at_once(tmp_path):
    with collector(tmp_path) as (url, backend):
        subprocess.run([sys.executable, "-c", EXPORTS, f"{url}/"], check=True)
        part, job = sorted(backend.until(lambda spans: len(spans) == 2), key=lambda span: span.name == "job")
    assert (job.name, job.parent, job.service) == ("job", "", "raysift-driver")
    assert (part.parent, part.trace, part.attributes) == (job.id, job.trace, {"files": 3})


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://", "grpc://collector:4317", "http://a b"])
def test_an_endpoint_that_is_no_http_url_is_refused(endpoint):
    with pytest.raises(ValidationError):
        Traces(endpoint=endpoint)
