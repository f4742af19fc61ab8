"""The queue of jobs, with a stand-in for Ray's Jobs API: the order of jobs, and the calls of the API."""

import asyncio
import time
from dataclasses import replace

import pytest
from ray.job_submission import JobStatus

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.jobs import job as job_file
from deployments.jobs.job import TASK, Job
from deployments.jobs.queue import Jobs
from tests.deployments.jobs.jobs_api import ONE_ARGUMENT, URI, queue, state, submit


def test_a_job_is_started_by_its_name_and_its_folder_has_the_task_of_its_driver(jobs, ray):
    out = jobs.settings.results + "/x"
    job = jobs.submit(["s3://b/case 7", "s3://c"], out, ["ocr", "face"])
    assert state(jobs, job) == "waiting"
    jobs.tick()
    assert state(jobs, job) == "listing"
    assert ray.drivers[job].entrypoint == f"python -m pipelines --job {job} --out {out}"
    task = job_file.read(out, job)
    assert (task.uris, task.detectors, task.units) == (("s3://b/case 7", "s3://c"), ("ocr", "face"), None)
    queued = jobs.one(job)
    assert all(getattr(task, key) == getattr(queued, key) for key in TASK if key != "started_at")


def test_a_job_of_5000_long_uris_is_started_and_its_driver_reads_them_all(jobs, ray):
    uris = [f"s3://evidence/{'a long folder name/' * 5}{n:04}" for n in range(5000)]
    assert len(" ".join(uris)) > 4 * ONE_ARGUMENT
    job = jobs.submit(uris, jobs.settings.results, [])
    jobs.tick()
    assert ray.running == [job] and len(ray.drivers[job].entrypoint) < 1000
    assert job_file.read(jobs.settings.results, job).uris == tuple(uris)
    ray.ends(job, JobStatus.FAILED)
    jobs.tick()
    jobs.cancel(job)
    jobs.resume(job)
    jobs.tick()
    assert ray.running == [f"{job}-3"] and len({driver.entrypoint for driver in ray.drivers.values()}) == 1


def test_the_task_that_a_driver_has_written_is_not_overwritten(jobs, ray):
    job = submit(jobs)
    listed = Job(job, (URI,), jobs.settings.results, 8.0, ("ocr",), started_at=9.0, units=7)
    job_file.write(listed)
    jobs.tick()
    assert ray.running == [job] and job_file.read(jobs.settings.results, job) == listed


def test_a_job_whose_folder_cannot_be_written_fails_with_a_message_and_others_start(jobs, ray, tmp_path):
    (tmp_path / "no folder").write_text("")
    lost = jobs.submit([URI], (tmp_path / "no folder").as_uri(), [])
    job = submit(jobs)
    jobs.tick()
    assert ray.running == [job] and state(jobs, lost) == "failed"
    assert "cannot be" in jobs.one(lost).message and jobs.one(lost).attempts == ()


def test_a_job_whose_units_are_known_is_running(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.begin(job, job, [URI], jobs.settings.results, [])
    jobs.note(job, message="10,000 files listed so far")
    assert state(jobs, job) == "listing"
    jobs.note(job, units=12, skipped=3, message="")
    told = jobs.one(job)
    assert (told.state, told.units, told.skipped, told.message) == ("running", 12, 3, "")


def test_a_follower_is_answered_when_the_job_is_over_or_after_the_time_it_waits(jobs):
    job = submit(jobs)
    assert asyncio.run(jobs.followed(job, 0.0)).state == "waiting"
    assert asyncio.run(jobs.followed(job, 0.2)).state == "waiting", "it is still waiting after that time"

    async def cancelled_meanwhile():
        following = asyncio.create_task(jobs.followed(job, 60.0))
        await asyncio.sleep(0)
        jobs.cancel(job)
        return await asyncio.wait_for(following, 10)

    assert asyncio.run(cancelled_meanwhile()).state == "cancelled"
    assert asyncio.run(jobs.followed("no such job", 60.0)) is None


def test_the_number_of_running_jobs_is_limited_and_the_oldest_starts_first(jobs, ray):
    first, second, third, fourth = (submit(jobs) for _ in range(4))
    jobs.tick()
    assert ray.running == [first, second]
    ray.ends(first, JobStatus.SUCCEEDED, 0)
    jobs.tick()
    assert state(jobs, first) == "finished" and ray.running == [second, third]
    assert state(jobs, fourth) == "waiting"


def test_an_urgent_job_does_not_wait_behind_bulk_ones(jobs, ray):
    bulk = [submit(jobs, priority="bulk") for _ in range(3)]
    jobs.tick()
    normal, urgent = submit(jobs), submit(jobs, priority="urgent")
    jobs.tick()
    assert ray.running == [*bulk[:2], urgent, normal]
    ray.ends(bulk[0], JobStatus.SUCCEEDED, 0)
    jobs.tick()
    assert state(jobs, bulk[2]) == "waiting", "two of higher priority still run"


def test_a_waiting_job_is_cancelled_without_a_driver_and_the_driver_of_a_running_one_is_stopped(jobs, ray):
    running, other, waiting = submit(jobs), submit(jobs), submit(jobs)
    jobs.tick()
    assert jobs.cancel(waiting).state == "cancelled" and not ray.stopped
    assert jobs.cancel(running).state == "cancelled" and ray.stopped == [running]
    jobs.tick()
    assert ray.running == [other]
    jobs.over(running, running, 1, "a last word")
    assert jobs.one(running).message == "it was cancelled"
    with pytest.raises(SettingsError, match="nothing to cancel"):
        jobs.cancel(running)


def test_a_job_that_was_stopped_through_ray_is_cancelled_and_stays_so(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.stop_job(job)
    jobs.tick()
    jobs.tick()
    assert state(jobs, job) == "cancelled" and not ray.running


def test_a_cancelled_job_is_resumed_under_its_name(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    with pytest.raises(SettingsError, match="still runs; cancel it first"):
        jobs.resume(job)
    jobs.cancel(job)
    ray.ends(job, JobStatus.RUNNING)
    with pytest.raises(SettingsError, match="still stopping"):
        jobs.resume(job)
    ray.ends(job, JobStatus.STOPPED)
    assert jobs.resume(job).state == "waiting"
    jobs.tick()
    assert ray.running == [f"{job}-2"]


def test_a_finished_job_cannot_be_resumed(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.over(job, job, 3)
    with pytest.raises(SettingsError, match=f"raysift jobs retry-failed {job}"):
        jobs.resume(job)


def test_failed_files_are_retried_as_a_new_job(jobs, ray):
    job = jobs.submit(["s3://b"], jobs.settings.results, ["ocr"], "bulk")
    jobs.tick()
    with pytest.raises(SettingsError, match="not over yet"):
        jobs.retry(job)
    jobs.over(job, job, 3)
    again = jobs.retry(job)
    jobs.tick()
    told = jobs.one(again)
    assert (told.retry_of, told.priority, told.detectors) == (job, "bulk", ("ocr",))
    task = job_file.read(told.out, again)
    assert (task.uris, task.detectors, task.retry_of) == (("s3://b",), ("ocr",), job)


def test_the_logs_of_a_job_are_those_of_all_its_attempts(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED, -9)
    jobs.tick()
    assert jobs.logs(job) == f"==> {job}\nlog of {job}\n==> {job}-2\nlog of {job}-2\n"
    del ray.drivers[job]
    assert "its log is gone" in jobs.logs(job)


def test_an_unknown_job_gives_a_message(jobs):
    assert jobs.one("scan-x") is None
    for ask in (jobs.cancel, jobs.resume, jobs.retry, jobs.logs):
        with pytest.raises(SettingsError, match="no job 'scan-x'"):
            ask("scan-x")


def test_the_newest_jobs_are_listed_quickly_among_many(jobs):
    newest = submit(jobs)
    old = replace(jobs.one(newest), state="finished")
    for n in range(300):
        jobs.store.put(replace(old, job=f"old-{n}", submitted_at=old.submitted_at - 1 - n))
    assert [job.job for job in jobs.newest(3)] == [newest, "old-0", "old-1"]
    assert [job.job for job in jobs.store.of("waiting")] == [newest]


def test_a_file_that_is_no_list_of_jobs_gives_a_message(tmp_path, ray):
    (tmp_path / "jobs.sqlite").write_text("this is no database, and was never one, whatever its name says" * 20)
    with pytest.raises(SettingsError, match=r"jobs\.sqlite does not open"):
        queue(tmp_path, ray)


def test_a_thread_calls_tick(tmp_path, ray):
    settings = Settings(state_dir=tmp_path)
    jobs = Jobs(tmp_path / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=0.01)
    job = jobs.submit([URI], (tmp_path / "found").as_uri(), [])
    deadline = time.monotonic() + 10
    while not ray.running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ray.running == [job]
