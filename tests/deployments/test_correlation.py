"""The id of a job or request travels with calls of deployments, and to another cluster."""

import asyncio
import contextvars
import json
import subprocess
import sys

import numpy as np
import pytest
from ray.serve import context
from ray.serve._private.default_impl import get_request_metadata

from cluster.records import Sample
from cluster.traces import spans
from deployments import correlation
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving.client import ServedDetectors
from deployments.serving.remote import RemoteDetector
from deployments.serving.replica import Replica
from tests.cluster.traces.kept import kept_spans
from tests.deployments.serving.test_remote_ready import config
from tests.support.servers import far_api
from tests.support.servers.far_api import Far

# Serve's own set-up of a replica's log, which needs no cluster and redirects the process's output
REPLICA = """
import logging, sys
from ray.serve._private.common import ServeComponentType
from ray.serve._private.logging_utils import configure_component_logger
from ray.serve.schema import LoggingConfig
from cluster.logs import setup
from cluster.logs.settings import Logs
from deployments import correlation
for form in ("text", "json"):
    config = LoggingConfig(**setup.serve_config(Logs(format=form), "api"), logs_dir=f"{sys.argv[1]}/{form}")
    limits = {"max_bytes": 1 << 20, "backup_count": 1}
    configure_component_logger(component_name="raysift_ocr", component_id="0a1b", logging_config=config,
                               component_type=ServeComponentType.REPLICA, **limits)
    setup.join_serve()
    correlation.set_id("scan-1")
    logging.getLogger("deployments.serving.replica").info("of %s", "s3://evidence/case-7/a.jpg")
    logging.getLogger("ray.serve").info("CALL detect OK 3ms")
"""


def in_own_context(function, *arguments):
    """Call a function whose id no other test sees."""
    return contextvars.copy_context().run(function, *arguments)


def test_a_call_of_a_deployment_takes_the_id_along():
    from ray.serve._private.handle_options import DynamicHandleOptions, InitHandleOptions

    def call():
        correlation.set_id("scan-1")
        return get_request_metadata(InitHandleOptions.create(), DynamicHandleOptions())

    assert in_own_context(call).request_id == "scan-1"
    assert get_request_metadata(InitHandleOptions.create(), DynamicHandleOptions()).request_id != "scan-1"


@pytest.mark.parametrize(("id", "sent"), [("scan-1", {"X-Request-ID": "scan-1"}), ("Fall-ä", {}), ("a\nb", {})])
def test_an_id_that_no_header_can_hold_is_not_sent(id, sent):
    def headers():
        correlation.set_id(id)
        return correlation.headers()

    assert in_own_context(headers) == sent


def test_the_other_cluster_gets_the_id_of_the_job_whose_samples_it_is_sent(monkeypatch):
    seen = []
    sent = RemoteDetector._sent

    def noted(self, *arguments):
        seen.append(context._get_serve_request_context().request_id)
        return sent(self, *arguments)

    monkeypatch.setattr(RemoteDetector, "_sent", noted)

    def job():
        correlation.set_id("scan-1")
        asyncio.run(replica.detect("nsfw", [Sample(pixels=np.zeros((3, 2, 3), np.uint8))], "a client"))

    with far_api.running(Far()) as url:
        replica = Replica({"nsfw": config(url).model_dump()})
        in_own_context(job)
    assert seen == ["", "scan-1"], "the example at its start belongs to no job"


def test_a_detectors_call_and_its_inference_are_parts_of_the_batch_also_in_another_cluster():
    class Handle:
        """Serve's handle of a replica in this process."""

        detect = property(lambda self: self)

        async def remote(self, *arguments, **more):
            return await contextvars.Context().run(asyncio.create_task, replica.detect(*arguments, **more))

    async def batch():
        client = ServedDetectors({"nsfw": Handle()}, {}, {"nsfw": NsfwConfig()})
        with spans.span("batch"):
            await client.ask(["nsfw"], [Sample(pixels=np.zeros((3, 2, 3), np.uint8))])

    with far_api.running(Far(measured=True)) as url:
        replica = Replica({"nsfw": config(url).model_dump()})
        with kept_spans() as kept:
            asyncio.run(batch())
    there = "batch/detector/inference/POST /v1/detect/{name}/samples"
    assert kept.paths() == {"batch", "batch/detector", "batch/detector/inference", there, f"{there}/detector"}
    assert dict(kept.named("inference").attributes) == {"detector": "nsfw", "samples": 1}


def test_lines_of_ours_and_of_serve_have_the_id_in_the_log_of_a_replica(tmp_path):
    subprocess.run([sys.executable, "-c", REPLICA, str(tmp_path)], check=True, capture_output=True)
    name = "replica_raysift_ocr_0a1b.log"
    ours, serves = (tmp_path / "text" / name).read_text().splitlines()
    assert ours.endswith("raysift_ocr 0a1b scan-1 -- of s3://evidence/[path]")
    assert serves.endswith("raysift_ocr 0a1b scan-1 -- CALL detect OK 3ms")
    entries = [json.loads(line) for line in (tmp_path / "json" / name).read_text().splitlines()]
    assert [(entry["request_id"], entry["message"]) for entry in entries] == [
        ("scan-1", "of s3://evidence/[path]"),
        ("scan-1", "CALL detect OK 3ms"),
    ]
