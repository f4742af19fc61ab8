"""Drivers that wait for jobs: which job each is given, and when one is started to wait."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from ray.job_submission import JobStatus

from deployments.jobs import standby
from deployments.jobs.drivers import FINISHED, HEADING
from deployments.jobs.standby import COMMAND
from tests.deployments.jobs.jobs_api import URI, queue, state, submit


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    """A call for a job returns at once when there is none."""
    monkeypatch.setattr(standby, "TAKE_S", 0.01)


@pytest.fixture
def driver(jobs, ray):
    """A driver that the queue has started, and that waits."""
    jobs.standby.keep()
    (name,) = ray.running
    assert jobs.take(name) is True
    return name


def test_one_driver_is_started_to_wait(jobs, ray, driver):
    jobs.standby.keep()
    assert ray.running == [driver]
    assert ray.drivers[driver].entrypoint == COMMAND


def test_no_driver_is_started_before_the_cluster_is_ready(tmp_path, ray):
    jobs = queue(tmp_path, ray, ready=lambda: False)
    jobs.standby.keep()
    assert not ray.drivers


def test_a_waiting_driver_is_given_the_next_job(jobs, ray, driver):
    job = submit(jobs)
    jobs.tick()
    assignment = jobs.take(driver)
    assert (assignment.job, assignment.out, assignment.attempt) == (job, jobs.settings.results, job)
    assert ray.running == [driver] and state(jobs, job) == "listing"


def test_a_job_is_given_to_the_driver_that_is_starting(jobs, ray):
    jobs.standby.keep()
    (driver,) = ray.running
    first, second = submit(jobs), submit(jobs)
    jobs.tick()
    assert ray.running == [driver, second]
    assert jobs.take(driver).job == first


def test_a_job_whose_driver_dies_while_it_starts_is_started_again_by_another(jobs, ray):
    jobs.standby.keep()
    (driver,) = ray.running
    job = submit(jobs)
    jobs.tick()
    ray.ends(driver, JobStatus.FAILED)
    jobs.tick()
    assert ray.running == [f"{job}-2"]


def test_a_call_that_waits_is_answered_when_a_job_comes(jobs, ray, driver, monkeypatch):
    monkeypatch.setattr(standby, "TAKE_S", 20.0)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(jobs.take, driver)
        job = submit(jobs)
        jobs.tick()
        assert call.result(timeout=10).job == job


def test_a_second_job_beside_it_has_a_driver_of_its_own(jobs, ray, driver):
    first, second = submit(jobs), submit(jobs)
    jobs.tick()
    assert jobs.take(driver).job == first
    assert ray.running == [driver, second]


def test_a_driver_does_one_job_after_the_other(jobs, ray, driver):
    for _ in range(2):
        job = submit(jobs)
        jobs.tick()
        assert jobs.take(driver).attempt == job
        jobs.begin(job, job, [URI], jobs.settings.results, [])
        jobs.over(job, job, FINISHED)
        assert jobs.take(driver) is True
        assert state(jobs, job) == "finished"
    assert ray.running == [driver]


def test_of_two_that_wait_the_second_is_sent_away(jobs, driver):
    jobs.standby._started.add("driver-2")
    assert jobs.take("driver-2") is False
    assert jobs.take(driver) is True


def test_a_driver_of_an_earlier_queue_is_sent_away(jobs):
    assert jobs.take("driver-of-yesterday") is False


def test_a_job_whose_driver_dies_is_started_again_by_another(jobs, ray, driver):
    job = submit(jobs)
    jobs.tick()
    jobs.take(driver)
    jobs.begin(job, job, [URI], jobs.settings.results, [])
    ray.ends(driver, JobStatus.FAILED)
    jobs.tick()
    assert jobs.one(job).attempts == (job, f"{job}-2")
    assert ray.running == [f"{job}-2"]


def test_a_driver_that_ends_without_a_report_has_not_finished_its_job(jobs, ray, driver):
    job = submit(jobs)
    jobs.tick()
    jobs.take(driver)
    ray.ends(driver, JobStatus.SUCCEEDED, 0)
    jobs.tick()
    assert jobs.one(job).attempts == (job, f"{job}-2")


def test_to_cancel_a_job_stops_its_driver(jobs, ray, driver):
    job = submit(jobs)
    jobs.tick()
    jobs.take(driver)
    jobs.cancel(job)
    assert ray.stopped == [driver] and state(jobs, job) == "cancelled"


def test_the_log_of_a_job_is_its_part_of_the_drivers_log(jobs, ray, driver):
    first = submit(jobs)
    jobs.tick()
    jobs.take(driver)
    jobs.over(first, first, FINISHED)
    jobs.take(driver)
    second = submit(jobs)
    jobs.tick()
    ray.logs[driver] = f"started\n{HEADING} {first}\none\n\n{HEADING} {second}\ntwo\n"
    assert jobs.logs(first) == f"==> {first}\none\n"
    assert jobs.logs(second) == f"==> {second}\ntwo\n"
