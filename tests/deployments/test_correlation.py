"""The id of a job or request travels with calls of deployments, and to another cluster."""

import asyncio
import contextvars

import numpy as np
import pytest
from ray.serve import context
from ray.serve._private.default_impl import get_request_metadata

from cluster.records import Sample
from deployments import correlation
from deployments.serving.remote import RemoteDetector
from deployments.serving.replica import Replica
from tests.deployments.serving.test_remote_ready import config
from tests.support.servers import far_api
from tests.support.servers.far_api import Far


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
        asyncio.run(replica.detect("nsfw", [Sample(pixels=np.zeros((3, 2, 3), np.uint8))]))

    with far_api.running(Far()) as url:
        replica = Replica({"nsfw": config(url).model_dump()})
        in_own_context(job)
    assert seen == ["", "scan-1"], "the example at its start belongs to no job"
