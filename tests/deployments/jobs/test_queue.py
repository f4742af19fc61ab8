"""The queue of jobs, without Ray: its Jobs API is a stand-in that does what it is told."""

import time
from dataclasses import replace

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from cluster.errors import SettingsError
from cluster.settings import Scanning, Settings
from deployments.jobs.drivers import START_S, JobsDown
from deployments.jobs.queue import STEADY_S, Jobs


class Ray:
    """Ray's Jobs API: drivers by submission id, with what each was started as."""

    def __init__(self) -> None:
        self.drivers: dict[str, JobDetails] = {}
        self.stopped: list[str] = []
        self.down = False
        self.nodes = {"head"}

    def submit_job(self, *, entrypoint, submission_id, metadata):
        if self.down:
            raise ConnectionError("nobody listens")
        if submission_id in self.drivers:
            raise RuntimeError(f"Request failed with status code 500: {submission_id} already exists.")
        self.drivers[submission_id] = JobDetails(
            type=JobType.SUBMISSION,
            submission_id=submission_id,
            status=JobStatus.RUNNING,
            entrypoint=entrypoint,
            metadata=metadata,
            driver_node_id="head",
        )

    def get_job_info(self, job_id):
        if self.down:
            raise ConnectionError("nobody listens")
        if job_id not in self.drivers:
            raise RuntimeError(f"Request failed with status code 404: Job {job_id} does not exist.")
        return self.drivers[job_id]

    def get_job_logs(self, job_id):
        return f"log of {self.get_job_info(job_id).submission_id}\n"

    def stop_job(self, job_id):
        self.get_job_info(job_id)
        self.stopped.append(job_id)
        self.ends(job_id, JobStatus.STOPPED)
        return True

    def ends(self, attempt, status, exit_code=None):
        self.drivers[attempt].status, self.drivers[attempt].driver_exit_code = status, exit_code

    @property
    def running(self):
        return [name for name, driver in self.drivers.items() if driver.status == JobStatus.RUNNING]


@pytest.fixture
def ray():
    return Ray()


@pytest.fixture
def jobs(tmp_path, ray):
    return made(tmp_path, ray)


def made(tmp_path, ray, **scanning):
    settings = Settings(state_dir=tmp_path, scanning=Scanning(**scanning))
    return Jobs(tmp_path / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=None)


def submit(jobs, **more):
    return jobs.submit(["s3://evidence/case 7"], "s3://found", [], **more)


def state(jobs, job):
    return jobs.one(job).state


def test_a_job_is_started_with_all_that_its_driver_must_know(jobs, ray):
    job = jobs.submit(["s3://b/case 7", "s3://c"], "s3://found/x", ["ocr", "face"])
    assert state(jobs, job) == "waiting"
    jobs.tick()
    assert state(jobs, job) == "listing"
    command = f"python -m pipelines 's3://b/case 7' s3://c --out s3://found/x --job {job} --detectors ocr,face"
    assert ray.drivers[job].entrypoint == command


def test_a_job_tells_what_it_owes_and_then_it_runs(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.begin(job, job, ["s3://evidence/case 7"], "s3://found", [])
    jobs.note(job, message="10,000 files listed so far")
    assert state(jobs, job) == "listing"
    jobs.note(job, units=12, skipped=3, message="")
    told = jobs.one(job)
    assert (told.state, told.units, told.skipped, told.message) == ("running", 12, 3, "")


def test_only_so_many_jobs_run_at_a_time_and_the_oldest_comes_first(jobs, ray):
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
    assert state(jobs, bulk[2]) == "waiting", "two of higher priority run still"


def test_a_job_whose_driver_died_is_started_again_by_itself_and_says_so(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED, -9)
    jobs.tick()
    told = jobs.one(job)
    assert (told.state, told.attempts) == ("listing", (job, f"{job}-2"))
    assert told.message == "its driver died (exit code -9); started again, 1 of 3 times"
    assert ray.drivers[f"{job}-2"].entrypoint == ray.drivers[job].entrypoint


def test_a_driver_that_dies_every_time_is_given_up(tmp_path, ray):
    jobs = made(tmp_path, ray, resumes=1)
    job = submit(jobs)
    for _ in range(2):
        jobs.tick()
        ray.ends(ray.running[0], JobStatus.FAILED)
    jobs.tick()
    told = jobs.one(job)
    assert told.state == "failed" and len(told.attempts) == 2
    assert "died 2 times, at last: node lost" in told.message and f"raysift jobs resume {job}" in told.message


def test_drivers_that_die_after_days_of_work_are_not_counted(tmp_path, ray):
    jobs = made(tmp_path, ray, resumes=1)
    job = submit(jobs)
    for _ in range(3):
        jobs.tick()
        jobs.store.change(job, units=9, attempt_at=time.time() - 2 * STEADY_S)
        ray.ends(ray.running[0], JobStatus.FAILED)
    jobs.tick()
    assert (jobs.one(job).state, len(jobs.one(job).attempts)) == ("running", 4)


def test_jobs_go_on_when_ray_has_been_started_anew_and_knows_nothing_of_them(tmp_path, ray):
    jobs = made(tmp_path, ray)
    job = submit(jobs)
    jobs.tick()
    jobs.store.close()
    another = Ray()
    jobs = made(tmp_path, another)
    jobs.tick()
    assert another.running == [f"{job}-2"]
    assert "Ray knows nothing of it any more" in jobs.one(job).message


def test_jobs_go_on_when_a_new_head_says_that_drivers_run_which_went_with_the_old_one(jobs, ray):
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
        jobs.begin(unborn, unborn, ["s3://evidence/case 7"], "s3://found", [])
    jobs.cancel(unborn)
    ray.drivers[f"{unborn}-2"].status = JobStatus.RUNNING
    assert jobs.resume(unborn).state == "waiting", "nobody stops what is lost"


@pytest.mark.parametrize(("code", "ended"), [(0, "finished"), (3, "finished"), (1, "failed")])
def test_how_a_driver_ended_is_final_whoever_tells_it(jobs, ray, code, ended):
    job, other = submit(jobs), submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED if code else JobStatus.SUCCEEDED, code)
    jobs.over(other, other, code, "as it says itself")
    jobs.tick()
    assert state(jobs, job) == state(jobs, other) == ended
    assert jobs.one(other).message == "as it says itself"
    assert jobs.one(job).ended_at is not None
    assert not ray.running or ray.running == [other]


def test_a_driver_that_was_given_up_for_dead_does_not_end_the_job(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED)
    jobs.tick()
    jobs.over(job, job, 1, "it was alive")
    assert state(jobs, job) == "listing"
    jobs.over(job, f"{job}-2", 0)
    assert state(jobs, job) == "finished"


def test_a_driver_that_the_cluster_failed_is_started_again(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    jobs.over(job, job, 4, "ActorDiedError")
    assert state(jobs, job) == "listing", "Ray has the last word"
    ray.ends(job, JobStatus.FAILED, 4)
    jobs.tick()
    assert ray.running == [f"{job}-2"]


def test_a_waiting_job_is_cancelled_without_a_driver_and_a_running_one_is_stopped(jobs, ray):
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


def test_a_job_that_somebody_stopped_in_ray_is_cancelled_and_stays_so(jobs, ray):
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


def test_a_finished_job_has_nothing_to_resume(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.over(job, job, 3)
    with pytest.raises(SettingsError, match=f"raysift jobs retry-failed {job}"):
        jobs.resume(job)


def test_what_failed_is_done_again_as_a_job_of_its_own(jobs, ray):
    job = jobs.submit(["s3://b"], "s3://found", ["ocr"], "bulk")
    jobs.tick()
    with pytest.raises(SettingsError, match="not over yet"):
        jobs.retry(job)
    jobs.over(job, job, 3)
    again = jobs.retry(job)
    jobs.tick()
    told = jobs.one(again)
    assert (told.retry_of, told.priority, told.detectors) == (job, "bulk", ("ocr",))
    assert f"--retry-failed {job} --out s3://found --job {again}" in ray.drivers[again].entrypoint


def test_a_driver_that_was_submitted_to_ray_itself_is_known_from_then_on(jobs, ray):
    ray.submit_job(entrypoint="python -m pipelines s3://b", submission_id="raysubmit_1", metadata={})
    jobs.begin("raysubmit_1", "raysubmit_1", ["s3://b"], "s3://found", [])
    assert state(jobs, "raysubmit_1") == "listing"
    ray.ends("raysubmit_1", JobStatus.FAILED, 137)
    jobs.tick()
    assert ray.running == ["raysubmit_1-2"]
    assert "s3://b --out s3://found --job raysubmit_1" in ray.drivers["raysubmit_1-2"].entrypoint


def test_two_drivers_of_one_job_are_refused(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    with pytest.raises(SettingsError, match="still runs"):
        jobs.begin(job, "raysubmit_2", ["s3://b"], "s3://found", [])
    ray.ends(job, JobStatus.FAILED, 1)
    jobs.tick()
    jobs.begin(job, "raysubmit_2", ["s3://b"], "s3://found", [])
    assert jobs.one(job).attempts == (job, "raysubmit_2")


def test_a_driver_whose_job_was_cancelled_while_it_started_does_nothing(jobs):
    job = submit(jobs)
    jobs.tick()
    jobs.cancel(job)
    with pytest.raises(SettingsError, match="is cancelled"):
        jobs.begin(job, job, ["s3://b"], "s3://found", [])


def test_a_job_is_parked_while_any_detector_is_away(jobs):
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


def test_a_ray_that_does_not_answer_costs_no_job_anything(jobs, ray):
    running, waiting = submit(jobs), submit(jobs)
    jobs.tick()
    third = submit(jobs)
    ray.down = True
    with pytest.raises(JobsDown, match="nobody listens"):
        jobs.tick()
    assert [state(jobs, job) for job in (running, waiting, third)] == ["listing", "listing", "waiting"]
    with pytest.raises(JobsDown):
        jobs.cancel(running)
    assert state(jobs, running) == "listing"


def test_a_submission_whose_answer_was_lost_is_not_made_twice(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    jobs.store.put(replace(jobs.one(job), state="waiting", attempts=()))
    jobs.tick()
    assert jobs.one(job).attempts == (job,) and ray.running == [job]


def test_the_logs_are_those_of_all_attempts(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    ray.ends(job, JobStatus.FAILED, -9)
    jobs.tick()
    assert jobs.logs(job) == f"==> {job}\nlog of {job}\n==> {job}-2\nlog of {job}-2\n"
    del ray.drivers[job]
    assert "its log is gone" in jobs.logs(job)


def test_a_name_that_no_job_has_is_a_sentence(jobs):
    assert jobs.one("scan-x") is None
    for ask in (jobs.cancel, jobs.resume, jobs.retry, jobs.logs):
        with pytest.raises(SettingsError, match="no job 'scan-x'"):
            ask("scan-x")


def test_the_newest_jobs_are_told_at_once_among_many(jobs):
    newest = submit(jobs)
    old = replace(jobs.one(newest), state="finished")
    for n in range(300):
        jobs.store.put(replace(old, job=f"old-{n}", submitted_at=old.submitted_at - 1 - n))
    assert [job.job for job in jobs.newest(3)] == [newest, "old-0", "old-1"]
    assert [job.job for job in jobs.store.of("waiting")] == [newest]


def test_a_file_that_is_no_list_of_jobs_is_a_sentence(tmp_path, ray):
    (tmp_path / "jobs.sqlite").write_text("this is no database, and was never one, whatever its name says" * 20)
    with pytest.raises(SettingsError, match=r"jobs\.sqlite does not open"):
        made(tmp_path, ray)


def test_a_thread_looks_after_the_jobs_by_itself(tmp_path, ray):
    settings = Settings(state_dir=tmp_path)
    jobs = Jobs(tmp_path / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=0.01)
    job = jobs.submit(["s3://evidence/case 7"], (tmp_path / "found").as_uri(), [])
    deadline = time.monotonic() + 10
    while state(jobs, job) == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ray.running == [job]
