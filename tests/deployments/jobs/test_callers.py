"""Requests with a key make one job, whoever answers them and how often; and a caller has a share of jobs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cluster.errors import SettingsError
from deployments.jobs import callers
from deployments.jobs.callers import Caller, Claim, TooManyJobs
from tests.deployments.jobs.jobs_api import queue, state, submit

ASKED = Caller("key:a", None, "key 1", "digest of the request")
ANOTHER = replace(ASKED, digest="digest of another request")


def count(jobs):
    return len(jobs.newest(100))


def test_a_request_that_was_answered_has_the_same_answer_and_makes_no_second_job(jobs):
    assert jobs.claim(ASKED) == Claim("new")
    job = submit(jobs, caller=ASKED)
    assert jobs.claim(ASKED) == Claim("answered", job)
    assert submit(jobs, caller=ASKED) == job and count(jobs) == 1


def test_another_request_with_the_key_is_told_apart_and_does_not_change_the_answer(jobs):
    job = submit(jobs, caller=ASKED)
    assert jobs.claim(ANOTHER) == Claim("another")
    with pytest.raises(SettingsError, match="another request with this Idempotency-Key"):
        submit(jobs, caller=ANOTHER)
    jobs.release(ANOTHER)
    assert jobs.claim(ASKED) == Claim("answered", job) and count(jobs) == 1


def test_keys_of_different_callers_have_nothing_to_do_with_each_other(jobs):
    other = replace(ASKED, owner="user:ann")
    assert submit(jobs, caller=ASKED) != submit(jobs, caller=other)
    assert submit(jobs) != submit(jobs), "nor has a request without a key"


def test_a_request_that_is_being_answered_is_not_answered_a_second_time_beside_it(jobs):
    assert jobs.claim(ASKED) == Claim("new")
    assert jobs.claim(ASKED) == Claim("in progress")
    jobs.release(ASKED)
    assert jobs.claim(ASKED) == Claim("new"), "it was refused, and may be repeated"


def test_the_request_of_an_api_process_that_died_is_answered_by_another_one_and_makes_one_job(jobs, monkeypatch):
    jobs.claim(ASKED)
    monkeypatch.setattr(callers, "CLAIMED_S", -1.0)
    assert jobs.claim(ASKED) == Claim("new")
    job = submit(jobs, caller=ASKED)
    assert submit(jobs, caller=ASKED) == job, "the first one lived, and was only slow"
    assert count(jobs) == 1


def test_an_answer_is_remembered_after_a_restart_of_the_queue_and_forgotten_after_a_day(
    jobs, tmp_path, ray, monkeypatch
):
    job = submit(jobs, caller=ASKED)
    jobs.store.close()
    again = queue(tmp_path, ray)
    assert again.claim(ASKED) == Claim("answered", job)
    monkeypatch.setattr(callers, "KEPT_S", -1.0)
    assert again.claim(ASKED) == Claim("new")


def test_many_repetitions_at_the_same_time_make_one_job(jobs):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: jobs.claim(ASKED).state, range(40)))
        made = set(pool.map(lambda _: submit(jobs, caller=ASKED), range(40)))
    assert claims.count("new") == 1 and len(made) == 1 and count(jobs) == 1


def test_a_job_is_resumed_once_by_one_request(jobs):
    job = submit(jobs)
    jobs.cancel(job)
    assert jobs.resume(job, ASKED).state == "waiting"
    jobs.tick()
    assert jobs.resume(job, ASKED).state == "listing", "the answer is the job as it is now"
    with pytest.raises(SettingsError, match="still runs"):
        jobs.resume(job, replace(ASKED, key="key 2"))


def test_failed_files_are_retried_once_by_one_request_also_if_there_are_none(jobs):
    job = submit(jobs)
    jobs.cancel(job)
    again = jobs.retry(job, ASKED)
    assert jobs.retry(job, ASKED) == again and count(jobs) == 2
    nothing = replace(ASKED, key="key 2")
    jobs.claim(nothing)
    jobs.remember(nothing, None)
    assert jobs.claim(nothing) == Claim("answered", None)


def test_a_caller_has_a_share_of_jobs_that_wait_or_run(jobs, ray):
    ann, bob = Caller("user:ann", 2), Caller("user:bob", 2)
    first, second = submit(jobs, caller=ann), submit(jobs, caller=ann)
    jobs.tick()
    with pytest.raises(TooManyJobs, match=r"2 jobs of yours wait or run, and limits\.jobs is 2"):
        submit(jobs, caller=ann)
    submit(jobs, caller=bob)
    submit(jobs, caller=replace(ann, most_jobs=None))
    jobs.over(first, first, 0)
    jobs.cancel(second)
    submit(jobs, caller=ann)
    with pytest.raises(TooManyJobs):
        jobs.resume(second, ann)
    assert state(jobs, second) == "cancelled"
    assert jobs.resume(second, bob).owner == "user:bob", "whoever queues a job has it"


def test_a_request_that_was_refused_for_the_share_may_be_repeated(jobs):
    asked = replace(ASKED, most_jobs=1)
    job = submit(jobs, caller=Caller(ASKED.owner, 1))
    jobs.claim(asked)
    with pytest.raises(TooManyJobs):
        submit(jobs, caller=asked)
    jobs.release(asked)
    jobs.cancel(job)
    assert jobs.claim(asked) == Claim("new") and submit(jobs, caller=asked) != job
    assert submit(jobs, caller=asked), "a repetition of the answered one is not a further job"
