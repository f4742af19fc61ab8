"""The Door's part on jobs, in Serve's local testing mode: catalogue and queue are real, Ray's Jobs API is not."""

from dataclasses import dataclass

import pytest
from fastapi import HTTPException
from ray import serve
from stored import commit, row
from test_jobs import Ray

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments import job_folder
from deployments.catalog import Catalog
from deployments.door import Door
from deployments.jobs import Jobs


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
        super().__init__(path, settings, lambda url: Ray(), every_s=None)


@pytest.fixture(scope="module")  # once its application has run here, the Door cannot be pickled for another
def door(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    settings = Settings(state_dir=state)
    catalog = serve.deployment(Kept).options(name="catalog").bind()
    jobs = serve.deployment(Driven).options(name="jobs").bind(state / "jobs.sqlite", settings)
    verify = lambda out, job, settings: Verified(lost=len(out))  # noqa: E731
    bound = Door.options(name="door").bind({}, catalog, jobs, None, verify, settings)
    handle = serve.run(bound, name="door", _local_testing_mode=True)
    yield lambda method, *arguments, **more: getattr(handle, method).remote(*arguments, **more).result()
    catalog = CATALOGS.pop()
    catalog.close()
    del catalog._db


@pytest.fixture
def media(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"x")
    return str(tmp_path / "media")


def test_a_job_is_queued_told_of_and_cancelled(door, media, tmp_path):
    name = door("submit", [media], out=str(tmp_path / "out"), detectors=None, priority="bulk")["job"]
    told = door("job", name)
    assert list(told)[:5] == ["job", "state", "units", "done", "failed"]
    assert (told["state"], told["priority"], told["uris"]) == ("waiting", "bulk", [(tmp_path / "media").as_uri()])
    assert told["report"] is None and door("list_jobs", limit=1)[0]["job"] == name
    assert door("cancel", name)["state"] == "cancelled"
    assert door("resume", name)["state"] == "waiting"
    assert door("verified", name) == {"lost": len((tmp_path / "out").as_uri())}


def test_a_job_that_is_over_has_its_report_and_what_failed_can_be_done_again(door, media, tmp_path):
    out = tmp_path / "out"
    name = door("submit", [media], out=str(out), detectors=None, priority="normal")["job"]
    door("cancel", name)
    job_folder.write(out.as_uri(), name, "report", {"units": 1})
    assert door("job", name)["report"] == {"units": 1}
    assert door("retry_failed", name) == {"job": None}
    commit(out, "a.parquet", row("s3://b/1.jpg", job=name, failures=[("decode", "torn")]))
    door("load", str(out))
    assert door("job", name)["failed"] == 1
    again = door("retry_failed", name)["job"]
    assert door("job", again)["retry_of"] == name


def test_what_cannot_be_listed_is_said_before_there_is_a_job(door):
    before = door("list_jobs", limit=5)
    with pytest.raises(SettingsError, match="no/such"):
        door("submit", ["/no/such/folder"], out=None, detectors=None, priority="normal")
    with pytest.raises(HTTPException, match="no detector 'nsfww'"):
        door("submit", ["s3://b"], out=None, detectors=["nsfww"], priority="normal")
    assert door("list_jobs", limit=5) == before


def test_a_job_that_nobody_knows_is_not_found(door):
    for ask in ("job", "cancel", "resume", "retry_failed", "verified", "logs"):
        with pytest.raises(HTTPException) as refused:
            door(ask, "scan-x")
        assert refused.value.status_code == 404
