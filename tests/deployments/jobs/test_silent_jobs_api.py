"""A Jobs API of Ray's that hangs: its callers get an error in time, and no other call waits."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ray.job_submission import JobStatus

from cluster.errors import SettingsError
from deployments.jobs import drivers
from deployments.jobs.drivers import Drivers, JobsDown
from tests.deployments.jobs.jobs_api import URI, queue, state, submit


@pytest.fixture
def in_background():
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def hang(ray):
    ray.hanging.clear()
    ray.answers = threading.Event()


def test_all_other_calls_are_answered_while_a_driver_is_being_started(jobs, ray, in_background):
    other, job = submit(jobs), submit(jobs)
    jobs.tick()
    jobs.begin(other, other, [URI], jobs.settings.results, [])
    third = submit(jobs, priority="urgent")
    hang(ray)
    ticking = in_background(jobs.tick)
    assert ray.hanging.wait(10)

    def ask_all():
        jobs.note(other, units=9)
        jobs.waits(other, "ocr", True)
        jobs.waits(other, "ocr", False)
        jobs.over(other, other, 0)
        assert {one.job for one in jobs.newest(9)} == {other, job, third}
        jobs.cancel(submit(jobs))
        return state(jobs, other)

    assert in_background(ask_all).result(timeout=10) == "finished"
    ray.answers.set()
    ticking.result(timeout=10)
    assert third in ray.running


def test_a_job_that_is_cancelled_while_its_driver_is_being_started_does_not_run(jobs, ray, in_background):
    job = submit(jobs)
    submit_job, stopped = ray.submit_job, []

    def slow(**more):
        stopped.append(jobs.cancel(job).state)
        submit_job(**more)

    ray.submit_job = slow
    jobs.tick()
    assert stopped == ["cancelled"] and ray.stopped == [job] and not ray.running
    with pytest.raises(SettingsError, match="is cancelled without this driver"):
        jobs.begin(job, job, [URI], jobs.settings.results, [])
    assert state(jobs, job) == "cancelled"


def test_a_job_that_ends_while_its_driver_is_being_stopped_stays_finished(jobs, ray, in_background):
    job = submit(jobs)
    jobs.tick()
    hang(ray)
    cancelling = in_background(jobs.cancel, job)
    assert ray.hanging.wait(10)
    jobs.over(job, job, 0)
    ray.answers.set()
    with pytest.raises(SettingsError, match="is finished: there is nothing to cancel"):
        cancelling.result(timeout=10)
    assert state(jobs, job) == "finished"


def test_cancel_stops_the_driver_that_the_job_has_at_that_time(jobs, ray):
    job = submit(jobs)
    jobs.tick()
    stop_job = ray.stop_job

    def dies(attempt):
        ray.stop_job = stop_job
        ray.ends(attempt, JobStatus.FAILED)
        jobs.tick()
        return True

    ray.stop_job = dies
    assert jobs.cancel(job).state == "cancelled"
    assert ray.stopped == [f"{job}-2"] and not ray.running


def test_a_driver_that_could_not_be_started_is_started_when_ray_answers_again(jobs, ray):
    job = submit(jobs)
    ray.down = True
    for _ in range(5):
        with pytest.raises(JobsDown, match="no server"):
            jobs.tick()
        assert (state(jobs, job), jobs.one(job).attempts, jobs.one(job).resumes) == ("waiting", (), 0)
    ray.down = False
    jobs.tick()
    assert ray.running == [job] and jobs.one(job).attempts == (job,)


@pytest.fixture
def silent_url(monkeypatch):
    """A server that accepts connections and never answers, for a client with short time-outs."""
    monkeypatch.setattr(drivers, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_every_call_to_a_jobs_api_that_never_answers_ends(silent_url):
    ray = Drivers(silent_url, nodes=set)
    began = time.monotonic()
    for ask in (ray.stop, ray.details, ray.is_running, ray.log, lambda name: ray.start(name, "python", {})):
        with pytest.raises(JobsDown, match=r"does not answer.*timed out.*Try again; if it stays so"):
            ask("scan-1")
    assert time.monotonic() - began < 10


def test_cancel_and_resume_say_that_ray_does_not_answer_and_change_nothing(tmp_path, ray, silent_url):
    jobs = queue(tmp_path, ray)
    running, cancelled = submit(jobs), submit(jobs)
    jobs.tick()
    jobs.cancel(cancelled)
    jobs.drivers = Drivers(silent_url, nodes=set)
    with pytest.raises(JobsDown, match="timed out"):
        jobs.cancel(running)
    with pytest.raises(JobsDown, match="timed out"):
        jobs.resume(cancelled)
    assert (state(jobs, running), state(jobs, cancelled)) == ("listing", "cancelled")
