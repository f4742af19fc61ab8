"""The API's routes on jobs, in Serve's local testing mode: catalogue and queue are real, Ray's Jobs API is not."""

import json
from dataclasses import dataclass

import pytest
from fastapi import HTTPException
from ray import serve

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.api.ingress import Ingress
from deployments.catalog.catalog import Catalog
from deployments.jobs import folder
from deployments.jobs.queue import Jobs
from tests.deployments.jobs.jobs_api import JobsApi
from tests.support.stored import commit, row


@dataclass
class Verified:
    lost: int = 0


CATALOGS: list[Catalog] = []


class Kept(Catalog):
    """A catalogue that the test can close."""

    def __init__(self):
        super().__init__(":memory:")
        CATALOGS.append(self)


class Driven(Jobs):
    """The queue, looked after by the test."""

    def __init__(self, path, settings):
        super().__init__(path, settings, lambda url: JobsApi(), every_s=None)


@pytest.fixture(scope="module")  # once its application has run here, the API cannot be pickled for another
def api(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    settings = Settings(state_dir=state)
    catalog = serve.deployment(Kept).options(name="catalog").bind()
    jobs = serve.deployment(Driven).options(name="jobs").bind(state / "jobs.sqlite", settings)
    verify = lambda out, job, settings: Verified(lost=len(out))  # noqa: E731
    bound = Ingress.options(name="api").bind({}, catalog, jobs, None, verify, settings)
    handle = serve.run(bound, name="api", _local_testing_mode=True)
    yield lambda method, *arguments, **more: getattr(handle, method).remote(*arguments, **more).result()
    catalog = CATALOGS.pop()
    catalog.close()
    del catalog._db


@pytest.fixture
def media(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"x")
    return str(tmp_path / "media")


def test_a_job_is_queued_told_of_and_cancelled(api, media, tmp_path):
    name = api("submit", [media], out=str(tmp_path / "out"), detectors=None, priority="bulk")["job"]
    told = api("job", name)
    assert list(told)[:5] == ["job", "state", "units", "done", "failed"]
    assert (told["state"], told["priority"], told["uris"]) == ("waiting", "bulk", [(tmp_path / "media").as_uri()])
    assert told["report"] is None and api("list_jobs", limit=1)[0]["job"] == name
    assert api("cancel", name)["state"] == "cancelled"
    assert api("resume", name)["state"] == "waiting"
    assert api("verified", name) == {"lost": len((tmp_path / "out").as_uri())}


def test_a_job_may_have_5000_long_uris_and_what_is_said_of_it_stays_short(api, media, tmp_path):
    uris = [f"{media}/{'./' * 60}a.jpg"] * 5000
    assert sum(map(len, uris)) > 5 * 128 * 1024
    name = api("submit", uris, out=str(tmp_path / "out"), detectors=None, priority="normal")["job"]
    for answer in (api("job", name), api("list_jobs", limit=1)[0]):
        assert answer["job"] == name and answer["uri_count"] == 5000 and len(json.dumps(answer)) < 5000


def test_a_job_that_is_over_has_its_report_and_what_failed_can_be_done_again(api, media, tmp_path):
    out = tmp_path / "out"
    name = api("submit", [media], out=str(out), detectors=None, priority="normal")["job"]
    api("cancel", name)
    folder.write(out.as_uri(), name, "report", {"units": 1})
    assert api("job", name)["report"] == {"units": 1}
    assert api("retry_failed", name) == {"job": None}
    commit(out, "a.parquet", row("s3://b/1.jpg", job=name, failures=[("decode", "torn")]))
    api("load", str(out))
    assert api("job", name)["failed"] == 1
    again = api("retry_failed", name)["job"]
    assert api("job", again)["retry_of"] == name


def test_what_cannot_be_listed_is_said_before_there_is_a_job(api):
    before = api("list_jobs", limit=5)
    with pytest.raises(SettingsError, match="no/such"):
        api("submit", ["/no/such/folder"], out=None, detectors=None, priority="normal")
    with pytest.raises(HTTPException, match="no detector 'nsfww'"):
        api("submit", ["s3://b"], out=None, detectors=["nsfww"], priority="normal")
    assert api("list_jobs", limit=5) == before


def test_a_job_that_nobody_knows_is_not_found(api):
    for ask in ("job", "cancel", "resume", "retry_failed", "verified", "logs"):
        with pytest.raises(HTTPException) as refused:
            api(ask, "scan-x")
        assert refused.value.status_code == 404
