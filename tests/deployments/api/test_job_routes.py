"""The API's routes on jobs, in Serve's local testing mode: catalogue and queue are real, Ray's Jobs API is not."""

import pytest
from fastapi import HTTPException

from cluster.api_job_types import Report
from cluster.errors import SettingsError
from deployments.api import job_routes
from deployments.jobs import folder
from tests.support.stored import commit, row


@pytest.fixture
def api(running):
    """Call a route's method."""
    return running.call


@pytest.fixture
def media(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"x")
    return str(tmp_path / "media")


def test_a_job_is_queued_described_and_cancelled(api, media, tmp_path):
    name = api("submit", [media], out=str(tmp_path / "out"), detectors=None, priority="bulk").job
    job = api("job", name)
    assert list(job.model_dump())[:5] == ["job", "state", "units", "done", "failed"]
    assert (job.state, job.priority, job.uris) == ("waiting", "bulk", [(tmp_path / "media").as_uri()])
    assert job.report is None and api("list_jobs", limit=1)[0].job == name
    assert api("cancel", name).state == "cancelled"
    assert api("resume", name).state == "waiting"
    assert api("verified", name).lost == len((tmp_path / "out").as_uri())


def test_a_job_may_have_5000_long_uris_and_its_description_stays_short(api, media, tmp_path):
    uris = [f"{media}/{'./' * 60}a.jpg"] * 5000
    assert sum(map(len, uris)) > 5 * 128 * 1024
    name = api("submit", uris, out=str(tmp_path / "out"), detectors=None, priority="normal").job
    for answer in (api("job", name), api("list_jobs", limit=1)[0]):
        assert answer.job == name and answer.uri_count == 5000 and len(answer.model_dump_json()) < 5000


def test_a_uri_that_is_named_many_times_is_looked_at_once(api, media, tmp_path, monkeypatch):
    listed = []
    monkeypatch.setattr(job_routes, "list_media", lambda uri, *_: listed.append(uri) or iter(()))
    api("submit", [media, f"{media}/a.jpg"] * 5000, out=str(tmp_path / "out"), detectors=None, priority="normal")
    assert len(listed) == 2


def test_a_finished_job_has_its_report_and_its_failed_files_can_be_retried(api, media, tmp_path):
    out = tmp_path / "out"
    name = api("submit", [media], out=str(out), detectors=None, priority="normal").job
    api("cancel", name)
    folder.write(out.as_uri(), name, "report", {"units": 1})
    assert api("job", name).report == Report(units=1)  # as a version with fewer figures has written it
    assert api("retry_failed", name).job is None
    commit(out, "a.parquet", row("s3://b/1.jpg", job=name, failures=[("decode", "torn")]))
    api("load", str(out))
    assert api("job", name).failed == 1
    again = api("retry_failed", name).job
    assert api("job", again).retry_of == name


def test_what_cannot_be_listed_is_refused_before_a_job_exists(api):
    before = api("list_jobs", limit=5)
    with pytest.raises(SettingsError, match="no/such"):
        api("submit", ["/no/such/folder"], out=None, detectors=None, priority="normal")
    with pytest.raises(HTTPException, match="no detector 'nsfww'"):
        api("submit", ["s3://b"], out=None, detectors=["nsfww"], priority="normal")
    assert api("list_jobs", limit=5) == before


def test_an_unknown_job_is_not_found(api):
    for ask in ("job", "cancel", "resume", "retry_failed", "verified", "logs"):
        with pytest.raises(HTTPException) as refused:
            api(ask, "scan-x")
        assert refused.value.status_code == 404
