"""The list of jobs, restored from the results; without Ray."""

import json
import logging
import time
from pathlib import Path

import pytest
from ray.job_submission import JobStatus

from cluster.errors import SettingsError
from cluster.settings import RayCluster, Settings
from deployments.jobs import folder
from deployments.jobs import job as job_file
from deployments.jobs.job import Job
from deployments.jobs.mirror import AGAIN_S, JobPages
from deployments.jobs.queue import Jobs
from deployments.jobs.store import JobStore
from tests.deployments.jobs.jobs_api import JobsApi


def head(tmp_path: Path, disk: str, ray: JobsApi, cluster: str = "raysift") -> Jobs:
    """The queue of a head with that disk; the results are shared. It has no thread."""
    results = (tmp_path / "results").as_uri() + "/"
    settings = Settings(state_dir=tmp_path / disk, results_uri=results, ray=RayCluster(cluster=cluster))
    return Jobs(tmp_path / disk / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=None)


def submit(jobs: Jobs, out: str | None = None) -> str:
    return jobs.submit(["s3://evidence/case 7"], out or jobs.settings.results.rstrip("/"), ["ocr"], "bulk")


def page(tmp_path: Path, job: str) -> Path:
    return tmp_path / "results" / "_raysift" / "jobs" / job / "queue.json"


def test_a_new_head_finds_the_jobs_and_continues_them(tmp_path):
    ray = JobsApi()
    old = head(tmp_path, "old", ray)
    finished, begun = submit(old), submit(old)
    old.tick()
    old.over(finished, finished, 3, "two files failed")
    old.note(begun, units=9)
    waiting, next_one = submit(old), submit(old)
    old.pages.write()

    another = JobsApi()
    new = head(tmp_path, "new", another)
    new.pages.find()
    assert new.newest(9) == old.newest(9)
    new.tick()
    assert (new.one(begun).state, new.one(begun).attempts) == ("running", (begun, f"{begun}-2"))
    assert another.running == [f"{begun}-2", waiting]
    assert job_file.read(new.one(waiting).out, waiting).detectors == ("ocr",)
    assert new.one(next_one).state == "waiting" and new.one(finished).message == "two files failed"


def test_a_job_that_ray_knows_as_running_is_not_started_twice_when_its_page_is_older(tmp_path):
    ray = JobsApi()
    old = head(tmp_path, "old", ray)
    job, done = submit(old), submit(old)
    old.pages.write()
    old.tick()  # it starts, and the head is lost before its page is written
    ray.ends(done, JobStatus.SUCCEEDED, 0)
    new = head(tmp_path, "new", ray)
    new.pages.find()
    assert new.one(job).attempts == ()
    new.tick()
    assert new.one(job).attempts == (job,) and list(ray.drivers) == [job, done]
    ray.ends(job, JobStatus.FAILED)
    new.tick()
    assert (new.one(job).attempts, new.one(done).state) == ((job, f"{job}-2"), "finished")


def test_a_job_of_another_cluster_is_not_started_until_it_is_resumed_here(tmp_path):
    blue = head(tmp_path, "blue", JobsApi(), "blue")
    job, over = submit(blue), submit(blue)
    blue.tick()
    blue.over(over, over, 0)
    blue.pages.write()
    written = page(tmp_path, job).read_text()

    ray = JobsApi()
    green = head(tmp_path, "green", ray, "green")
    green.pages.find()
    green.tick()
    told = green.one(job)
    assert (told.state, green.one(over).state, ray.running) == ("failed", "finished", [])
    assert "cluster blue" in told.message and f"`raysift jobs resume {job}`" in told.message
    green.pages.write()
    assert page(tmp_path, job).read_text() == written, "the page still belongs to that cluster"
    green.resume(job)
    green.tick()
    green.pages.write()
    assert ray.running == [f"{job}-2"] and json.loads(page(tmp_path, job).read_text())["cluster"] == "green"


def test_a_job_that_the_old_cluster_queued_while_the_new_one_started_can_be_resumed_by_name(tmp_path):
    old, new = head(tmp_path, "old", JobsApi(), "blue"), head(tmp_path, "new", JobsApi(), "green")
    new.pages.find()
    job = submit(old)
    old.pages.write()
    assert new.newest(9) == [] and new.one("scan-that-never-was") is None
    assert new.one(job).state == "failed" and "queued in cluster blue" in new.one(job).message
    assert new.resume(job).state == "waiting"


def test_unreadable_pages_are_logged_and_left_out(tmp_path, caplog):
    old = head(tmp_path, "old", JobsApi())
    job, torn, moved, odd, idle = (submit(old) for _ in range(5))
    old.pages.write()
    page(tmp_path, torn).write_text("{")
    page(tmp_path, moved).write_text(page(tmp_path, job).read_text())
    page(tmp_path, odd).write_text(json.dumps({"cluster": "raysift", "job": odd, "uris": 7}))
    page(tmp_path, idle).write_text(page(tmp_path, idle).read_text().replace('"waiting"', '"running"'))
    page(tmp_path, "of-another-kind").parent.mkdir()
    new = head(tmp_path, "new", JobsApi())
    new.pages.find()
    assert [one.job for one in new.newest(9)] == [job]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4


def test_a_listed_job_is_not_overwritten_by_its_page(tmp_path):
    jobs = head(tmp_path, "disk", JobsApi())
    job = submit(jobs)
    jobs.pages.write()
    jobs.cancel(job)
    jobs.pages.find()
    assert jobs.one(job).state == "cancelled"


def test_results_are_searched_for_jobs_once_and_not_before_they_can_be_listed(tmp_path):
    jobs = head(tmp_path, "disk", JobsApi())
    page(tmp_path, "x").parents[2].mkdir(parents=True)
    page(tmp_path, "x").parents[1].write_text("no folder")
    with pytest.raises(SettingsError, match="cannot be listed"):
        jobs.pages.find()
    assert not jobs.store.searched
    page(tmp_path, "x").parents[1].unlink()
    jobs.pages.find()
    jobs.store.close()
    assert JobStore(tmp_path / "disk" / "jobs.sqlite").searched


def test_an_unreachable_place_does_not_delay_other_pages_and_is_tried_again(tmp_path, caplog):
    now = [1000.0]
    jobs = head(tmp_path, "disk", JobsApi())
    pages = JobPages(jobs.store, jobs.settings, lambda: now[0])
    (tmp_path / "away").write_text("no folder")
    away = (tmp_path / "away").as_uri()
    one, other, here = submit(jobs, away), submit(jobs, away), submit(jobs)
    pages.write()
    pages.write()
    assert page(tmp_path, here).exists() and [job.job for job in jobs.store.changed()] == [one, other]
    assert len(caplog.records) == 1
    (tmp_path / "away").unlink()
    pages.write()
    assert len(jobs.store.changed()) == 2
    now[0] += AGAIN_S + 1
    pages.write()
    assert not jobs.store.changed()
    assert folder.read(away, other, "queue")["job"] == other


def test_jobs_stored_before_there_were_pages_get_pages(tmp_path):
    jobs = head(tmp_path, "disk", JobsApi())
    job = submit(jobs)
    jobs.store._db.executescript("drop table changed")
    jobs.store.close()
    head(tmp_path, "disk", JobsApi()).pages.write()
    assert page(tmp_path, job).exists()


def test_a_head_finds_jobs_and_writes_pages_before_it_answers(tmp_path):
    old = head(tmp_path, "old", JobsApi())
    job = submit(old)
    old.pages.write()
    settings = old.settings.model_copy(update={"state_dir": tmp_path / "new"})
    ray = JobsApi()
    new = Jobs(tmp_path / "new" / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=0.01)
    assert new.one(job) is not None
    again = submit(new)
    deadline = time.monotonic() + 10
    while not page(tmp_path, again).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_of_the_previous_version_are_read(tmp_path):
    jobs = head(tmp_path, "disk", JobsApi())
    blocked, paged = submit(jobs), submit(jobs)
    jobs.tick()
    jobs.pages.write()
    for job in (blocked, paged):
        facts = json.loads(page(tmp_path, job).read_text()) | {"state": "parked", "units": 9, "waits_for": ["ocr"]}
        page(tmp_path, job).write_text(json.dumps(facts))
    jobs.store._db.execute("update jobs set state = 'parked', facts = json_set(facts, '$.state', 'parked')")
    jobs.store._db.commit()
    jobs.store.close()

    again = head(tmp_path, "disk", JobsApi())
    assert [job.job for job in again.store.of("blocked")] == [blocked, paged]
    assert again.one(blocked).state == "blocked"
    new = head(tmp_path, "new", JobsApi())
    new.pages.find()
    assert (new.one(paged).state, new.one(paged).waits_for) == ("blocked", ("ocr",))
    place = tmp_path / "results" / "_raysift" / "jobs" / "scan-old" / "job.json"
    place.parent.mkdir()
    place.write_text('{"uris": ["s3://b"], "detectors": [], "retry_of": null, "started_at": 1.5, "listed": false}')
    out = (tmp_path / "results").as_uri()
    assert job_file.read(out, "scan-old") == Job("scan-old", ("s3://b",), out, 1.5, started_at=1.5)
    facts = json.loads(place.read_text()) | {"units": 0, "skipped": 0}
    place.write_text(json.dumps(facts))
    assert job_file.read(out, "scan-old").units is None, "it was not listed to its end"
    place.write_text(json.dumps(facts | {"listed": True, "units": 5, "skipped": 2}))
    assert (job_file.read(out, "scan-old").units, job_file.read(out, "scan-old").skipped) == (5, 2)
    place.write_text('{"detectors": 7}')
    with pytest.raises(SettingsError, match=r"scan-old/job\.json is not what Raysift has written"):
        job_file.read(out, "scan-old")


def test_pages_are_written_to_a_bucket(tmp_path, s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    s3.client().create_bucket(Bucket="pages")
    settings = Settings(state_dir=tmp_path, results_uri="s3://pages/found", s3_endpoint_url=s3.endpoint)
    ray = JobsApi()
    old = Jobs(tmp_path / "old.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=None)
    new = Jobs(tmp_path / "new.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=None)
    new.pages.find()
    job = submit(old)
    old.pages.write()
    new.pages.find()
    assert new.one(job) == old.one(job)
