"""The API's types of jobs: how a finished job ended."""

import pytest

from cluster.api_job_types import JobInfo
from tests.support.fakes.jobs import FakeJob


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"state": "finished"}, "complete"),
        ({"state": "finished", "failed": 1}, "complete_with_warnings"),
        ({"state": "finished", "left_out": 2}, "complete_with_warnings"),
        ({"state": "finished", "message": "3 of the files are gone"}, "complete_with_warnings"),
        ({"state": "running", "failed": 1}, None),
        ({"state": "failed", "message": "its driver died"}, None),
        ({"state": "cancelled"}, None),
    ],
)
def test_a_finished_job_with_something_to_tell_is_complete_with_warnings(facts, outcome):
    described = FakeJob("scan-1", ["s3://b"]).info().model_dump() | {"failed": 0, "left_out": 0, "message": ""} | facts
    job = JobInfo(**described)
    assert job.outcome == outcome and job.model_dump()["outcome"] == outcome
