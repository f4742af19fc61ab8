"""Hits in the results of jobs, told by webhooks: each once, of every job."""

from ray.job_submission import JobStatus

from cluster.records import OVER, JobState, asset_id
from deployments.jobs.job import Job
from deployments.jobs.webhooks.announcing import HITS_A_DELIVERY, HITS_EVERY_S
from tests.deployments.jobs.webhooks.head import Head, hook, nude
from tests.support.stored import commit, found, row


def test_hits_are_those_that_pass_the_filter(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "hit", detector="nsfw", label="nude", min_score=0.8))
    job = head.run(
        nude(1),
        nude(2, score=0.79),
        row("s3://b/other.jpg", found("nsfw", "suggestive", 0.9), found("logo", "nude", 1.0), unit=3),
        row("s3://b/none.jpg", unit=4, failures=[("fetch", "gone")]),
        nude(5, score=0.8),
    )
    head.work()
    ((_, message),) = receiver.taken
    data = message["data"]
    assert data["assets"] == sorted(asset_id(f"s3://b/{name}.jpg") for name in ("0001", "0005"))
    assert (data["detector"], data["label"], data["min_score"], data["job"]) == ("nsfw", "nude", 0.8, job)
    assert data["url"] == f"http://127.0.0.1:8000/v1/assets?job={job}&detector=nsfw&label=nude&min_score=0.8"


def test_hits_of_a_running_job_are_told_every_minute_with_up_to_a_hundred_assets(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "hit"))
    job = head.begin(*map(nude, range(HITS_A_DELIVERY + 50)))
    head.work()
    head.store(job, *map(nude, range(1000, 1010)), file="b")
    head.work(after_s=HITS_EVERY_S / 2)
    assert [len(message["data"]["assets"]) for _, message in receiver.taken] == [HITS_A_DELIVERY]
    head.work(after_s=HITS_EVERY_S / 2)
    head.end(job)
    head.work(after_s=HITS_EVERY_S)
    told = [asset for _, message in receiver.taken for asset in message["data"]["assets"]]
    expected = {asset_id(f"s3://b/{n:04}.jpg") for n in (*range(HITS_A_DELIVERY + 50), *range(1000, 1010))}
    assert len(told) == len(expected) and set(told) == expected


def test_hits_of_a_job_whose_driver_died_are_told_though_another_job_has_the_same_folder(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "hit"))
    died, other = head.begin(nude(1)), head.begin(nude(2))
    head.ray.ends(head.jobs.one(died).attempts[-1], JobStatus.FAILED)
    head.jobs.store.change(died, state="waiting")  # to be started again
    head.work()
    told = {message["data"]["job"]: message["data"]["assets"] for _, message in receiver.taken}
    assert told == {died: [asset_id("s3://b/0001.jpg")], other: [asset_id("s3://b/0002.jpg")]}


def test_hits_of_a_job_that_ends_while_the_list_of_jobs_is_read_are_told(tmp_path, receiver, monkeypatch):
    head = Head(tmp_path, hook(receiver, "hit"))
    ending, other = head.begin(nude(1)), head.begin(nude(2))
    jobs_of = head.jobs.store.of

    def end_and_list(*states: JobState) -> list[Job]:
        if head.jobs.one(ending).state not in OVER:
            head.end(ending)
        return jobs_of(*states)

    monkeypatch.setattr(head.jobs.store, "of", end_and_list)
    for _ in range(2):
        head.work()
    assert {message["data"]["job"] for _, message in receiver.taken} == {ending, other}


def test_results_of_earlier_jobs_are_no_hits(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "hit"))
    commit(head.found, "earlier.parquet", nude(1))
    (head.found / "foreign.parquet").write_bytes(b"no results")
    head.run(nude(2))
    head.work()
    assert [message["data"]["assets"] for _, message in receiver.taken] == [[asset_id("s3://b/0002.jpg")]]


def test_hits_wait_for_results_that_cannot_be_read_and_the_end_of_the_job_does_not(tmp_path, receiver, monkeypatch):
    head = Head(tmp_path, hook(receiver, "job.finished", "hit"))
    head.run(nude(1))
    away = tmp_path / "away"
    head.found.rename(away)
    head.found.write_text("no folder")
    head.work()
    assert [message["type"] for _, message in receiver.taken] == ["job.finished"]
    head.found.unlink()
    away.rename(head.found)
    head.work(after_s=60)
    assert [message["type"] for _, message in receiver.taken] == ["job.finished", "hit"]
