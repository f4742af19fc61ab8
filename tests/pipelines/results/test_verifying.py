"""Verification of a job: its ledger against its rows. Without units the vector store is not called."""

import pytest

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.jobs import job as jobs
from deployments.jobs.job import Job
from pipelines.results.verifying import Verified, verify


def owing(units, out):
    jobs.write(Job("scan-1", ("file:///media",), out, 1.0, units=units))


def test_a_job_without_units_has_lost_none(tmp_path):
    owing(0, tmp_path.as_uri())
    assert verify(tmp_path.as_uri(), "scan-1", Settings()) == Verified(0, 0, 0, 0, 0, 0)


def test_a_job_that_is_not_listed_yet_or_unknown_is_a_settings_error(tmp_path):
    owing(None, tmp_path.as_uri())
    for name in ("scan-1", "scan-2"):
        with pytest.raises(SettingsError, match="has not listed its files"):
            verify(tmp_path.as_uri(), name, Settings())
