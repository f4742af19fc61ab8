"""A queue of jobs whose Ray Jobs API is a stand-in."""

import pytest

from tests.deployments.jobs.jobs_api import JobsApi, queue


@pytest.fixture
def ray():
    """The stand-in for Ray's Jobs API."""
    return JobsApi()


@pytest.fixture
def jobs(tmp_path, ray):
    """The queue, without a thread of its own: a test calls tick()."""
    return queue(tmp_path, ray)
