"""A job whose driver dies, ends, begins or waits; Ray's Jobs API is a stand-in."""

import time
from dataclasses import replace

import pytest
from ray.job_submission import JobStatus

from cluster.errors import SettingsError
from deployments.jobs import job as job_file
from deployments.jobs.drivers import START_S, JobsDown
from deployments.jobs.endings import STEADY_S
from tests.deployments.jobs.jobs_api import URI, JobsApi, queue, state, submit


def test_a_job_whose_driver_died_is_restarted_and_its_message_says_so(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED, -9)
    jobs.tick()
    told = jobs.one(job)
    assert (told.state, told.attempts) == ("listing", (job, f"{job}-2"))
    assert told.message == "its driver died (exit code -9); started again, 1 of 3 times"
    assert ray.drivers[f"{job}-2"].entrypoint == ray.drivers[job].entrypoint


def test_a_job_whose_driver_dies_every_time_fails(tmp_path, ray):
    jobs = queue(tmp_path, ray, resumes=1)
    job = submit(jobs)
    for _ in range(2):
        jobs.tick()
        ray.ends(ray.running[0], JobStatus.FAILED)
    jobs.tick()
    told = jobs.one(job)
    assert told.state == "failed" and len(told.attempts) == 2
    assert "died 2 times, at last: node lost" in told.message and f"raysift jobs resume {job}" in told.message


def test_deaths_of_drivers_after_days_of_work_are_not_counted(tmp_path, ray):
    jobs = queue(tmp_path, ray, resumes=1)
    job = submit(jobs)
    for _ in range(3):
        jobs.tick()
        jobs.store.change(job, units=9, attempt_at=time.time() - 2 * STEADY_S)
        ray.ends(ray.running[0], JobStatus.FAILED)
    jobs.tick()
    assert (jobs.one(job).state, len(jobs.one(job).attempts)) == ("running", 4)


def test_jobs_continue_after_ray_was_restarted_and_has_lost_them(tmp_path, ray):
    jobs = queue(tmp_path, ray)
    job = submit(jobs)
    jobs.tick()
    jobs.store.close()
    another = JobsApi()
    jobs = queue(tmp_path, another)
    jobs.tick()
    assert another.running == [f"{job}-2"]
    assert "Ray knows nothing of it any more" in jobs.one(job).message


def test_jobs_continue_when_a_new_head_reports_drivers_of_the_old_head_as_running(jobs, ray):
    job, unborn = submit(jobs), submit(jobs)
    jobs.tick()
    ray.drivers[unborn].status, ray.drivers[unborn].driver_node_id = JobStatus.PENDING, None
    ray.drivers[unborn].start_time = int(time.time() * 1000)
    ray.nodes = {"another head"}
    jobs.tick()
    assert (jobs.one(job).attempts, jobs.one(unborn).attempts) == ((job, f"{job}-2"), (unborn,))
    assert "its driver died (node lost)" in jobs.one(job).message
    ray.drivers[unborn].start_time -= int(START_S * 1000) + 1
    jobs.tick()
    assert jobs.one(unborn).attempts == (unborn, f"{unborn}-2")
    with pytest.raises(SettingsError, match="without this driver"):
        jobs.begin(unborn, unborn, [URI], jobs.settings.results, [])
    jobs.cancel(unborn)
    ray.drivers[f"{unborn}-2"].status = JobStatus.RUNNING
    assert jobs.resume(unborn).state == "waiting", "a lost driver is not stopped"


@pytest.mark.parametrize(("code", "ended"), [(0, "finished"), (3, "finished"), (1, "failed")])
def test_the_exit_code_of_a_driver_is_final_whoever_reports_it(jobs, ray, code, ended):
    job, other = submit(jobs), submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED if code else JobStatus.SUCCEEDED, code)
    jobs.over(other, other, code, "as it says itself")
    jobs.tick()
    assert state(jobs, job) == state(jobs, other) == ended
    assert jobs.one(other).message == "as it says itself"
    assert jobs.one(job).ended_at is not None
    assert not ray.running or ray.running == [other]


def test_a_driver_that_was_taken_for_dead_does_not_end_the_job(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED)
    jobs.tick()
    jobs.over(job, job, 1, "it was alive")
    assert state(jobs, job) == "listing"
    jobs.over(job, f"{job}-2", 0)
    assert state(jobs, job) == "finished"


def test_a_driver_that_failed_with_the_cluster_is_restarted(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    jobs.over(job, job, 4, "ActorDiedError")
    assert state(jobs, job) == "listing", "Ray's status decides"
    ray.ends(job, JobStatus.FAILED, 4)
    jobs.tick()
    assert ray.running == [f"{job}-2"]


def test_a_driver_that_was_submitted_to_ray_directly_becomes_a_job(jobs, ray):
    ray.submit_job(entrypoint="python -m pipelines s3://b", submission_id="raysubmit_1", metadata={})
    jobs.begin("raysubmit_1", "raysubmit_1", ["s3://b"], jobs.settings.results, [])
    assert state(jobs, "raysubmit_1") == "listing"
    ray.ends("raysubmit_1", JobStatus.FAILED, 137)
    jobs.tick()
    assert ray.running == ["raysubmit_1-2"]
    assert ray.drivers["raysubmit_1-2"].entrypoint.endswith(f"--job raysubmit_1 --out {jobs.settings.results}")
    assert job_file.read(jobs.settings.results, "raysubmit_1").uris == ("s3://b",)


def test_two_drivers_of_one_job_are_refused(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    with pytest.raises(SettingsError, match="still runs"):
        jobs.begin(job, "raysubmit_2", ["s3://b"], jobs.settings.results, [])
    ray.ends(job, JobStatus.FAILED, 1)
    jobs.tick()
    jobs.begin(job, "raysubmit_2", ["s3://b"], jobs.settings.results, [])
    assert jobs.one(job).attempts == (job, "raysubmit_2")


def test_a_driver_whose_job_was_cancelled_while_it_started_does_nothing(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.cancel(job)
    with pytest.raises(SettingsError, match="is cancelled"):
        jobs.begin(job, job, ["s3://b"], jobs.settings.results, [])


def test_a_job_is_blocked_while_a_detector_is_away(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.note(job, units=5)
    jobs.waits(job, "ocr", True)
    jobs.waits(job, "face", True)
    jobs.waits(job, "ocr", False)
    assert (state(jobs, job), jobs.one(job).waits_for) == ("blocked", ("face",))
    jobs.waits(job, "face", False)
    assert state(jobs, job) == "running"
    jobs.over(job, job, 0)
    jobs.waits(job, "face", True)
    assert state(jobs, job) == "finished"


def test_no_job_is_affected_while_ray_does_not_answer(jobs, ray):
    running, waiting = submit(jobs), submit(jobs)
    jobs.tick()
    third = submit(jobs)
    ray.down = True
    with pytest.raises(JobsDown, match="no server"):
        jobs.tick()
    assert [state(jobs, job) for job in (running, waiting, third)] == ["listing", "listing", "waiting"]
    with pytest.raises(JobsDown):
        jobs.cancel(running)
    assert state(jobs, running) == "listing"


def test_a_submission_whose_response_was_lost_is_not_repeated(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    jobs.store.put(replace(jobs.one(job), state="waiting", attempts=()))
    jobs.tick()
    assert jobs.one(job).attempts == (job,) and ray.running == [job]
