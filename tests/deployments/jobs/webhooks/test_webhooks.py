"""Webhooks from the end of a job, or a hit, to a receiver; also over restarts of the head."""

from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus

from cluster.records import OVER, JobState, asset_id
from cluster.settings import ApiListener, Settings
from cluster.webhooks.endpoint import Webhook
from deployments.jobs import folder
from deployments.jobs.job import Job
from deployments.jobs.queue import Jobs
from deployments.jobs.webhooks.announcing import HITS_A_DELIVERY, HITS_EVERY_S, Announcer
from deployments.jobs.webhooks.outbox import PAUSES_S, UNKNOWN_URL
from tests.deployments.jobs.jobs_api import JobsApi, submit
from tests.deployments.jobs.webhooks.receiver import SECRET, Receiver, receiving
from tests.support.stored import commit, found, row


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


class Head:
    """A queue of jobs with webhooks to a receiver, whose clock the test sets; `restart` is another process."""

    def __init__(self, state: Path, *webhooks: Webhook, api: ApiListener | None = None) -> None:
        self.found = state / "found"
        self.settings = Settings(
            state_dir=state, results_uri=self.found.as_uri(), webhooks=webhooks, api=api or ApiListener()
        )
        self.ray, self.now = JobsApi(), 1_800_000_000.0
        self._start()

    def _start(self) -> None:
        ray = self.ray
        self.jobs = Jobs(self.settings.state_dir / "jobs.sqlite", self.settings, lambda _: ray, lambda: ray.nodes, None)
        self.announcer = Announcer(self.jobs.store, self.settings, lambda: self.now)

    def restart(self) -> None:
        self.jobs.store.close()
        if self.announcer.outbox:
            self.announcer.outbox.close()
        self._start()

    def run(self, *rows: dict[str, Any], exit_code: int = 0) -> str:
        """A job that stores these rows and ends with that exit code."""
        job = self.begin(*rows)
        self.end(job, exit_code)
        return job

    def begin(self, *rows: dict[str, Any]) -> str:
        job = submit(self.jobs)
        self.jobs.tick()
        self.store(job, *rows)
        return job

    def store(self, job: str, *rows: dict[str, Any], file: str = "a") -> None:
        if rows:
            commit(self.found, f"{job}-{file}.parquet", *({**row, "job": job} for row in rows))

    def end(self, job: str, exit_code: int = 0) -> None:
        report = {"done": 7, "failed": 2}
        folder.write(self.settings.results, job, "report", report)
        self.jobs.note(job, units=7, skipped=3)
        attempt = self.jobs.one(job).attempts[-1]
        self.jobs.over(job, attempt, exit_code, "secret.jpg is broken")
        self.ray.ends(attempt, JobStatus.SUCCEEDED)

    def work(self, after_s: float = 0.0) -> None:
        """What the threads do, once, after so many seconds."""
        self.now += after_s
        self.announcer.collect()
        for webhook in self.settings.webhooks:
            self.announcer.deliver(webhook)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def hook(receiver: Receiver, *events: str, **hits: Any) -> Webhook:
    return Webhook(
        url=receiver.url, secret_env="HOOK_SECRET", events=events or ("job.finished", "job.failed"), hits=hits
    )


def nude(n: int, score: float = 0.9) -> dict[str, Any]:
    return row(f"s3://b/{n:04}.jpg", found("nsfw", "nude", score), found("ocr", "text", 1.0, text="hello"), unit=n)


def test_the_end_of_a_job_is_told_with_its_counts_and_address(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver), api=ApiListener(names=("raysift.example",)))
    job = head.run(nude(1))
    head.work()
    ((_, message),) = receiver.taken
    assert message["type"] == "job.finished"
    assert message["data"] == {
        "job": job,
        "state": "finished",
        "units": 7,
        "done": 7,
        "failed": 2,
        "skipped": 3,
        "url": f"https://raysift.example/v1/jobs/{job}",
    }
    assert message["timestamp"].endswith("Z") and "secret" not in str(message)


def test_only_the_events_that_an_endpoint_wants_are_told(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "job.failed"))
    head.run(), head.jobs.cancel(head.begin())
    job = head.run(exit_code=1)
    head.work()
    assert [(message["type"], message["data"]["job"]) for _, message in receiver.taken] == [("job.failed", job)]


def test_a_receiver_that_fails_twice_gets_the_same_message_a_third_time(tmp_path, receiver):
    receiver.answers = [500, 302]  # a redirect is not followed
    head = Head(tmp_path, hook(receiver))
    head.run()
    head.work()
    head.work(after_s=PAUSES_S[0] - 1)
    assert len(receiver.attempts) == 1
    head.work(after_s=1)
    head.restart()
    head.work(after_s=PAUSES_S[1])
    head.work(after_s=10 * PAUSES_S[-1])
    assert len(receiver.attempts) == 3 and len(set(receiver.attempts)) == 1
    assert len(receiver.taken) == 1 and head.announcer.outbox.listed() == []


def test_a_receiver_that_never_takes_it_leaves_a_dead_letter_that_can_be_retried(tmp_path, receiver):
    receiver.always = 503
    head = Head(tmp_path, hook(receiver))
    job = head.run()
    for pause_s in (0.0, *PAUSES_S, 10 * PAUSES_S[-1]):
        head.work(after_s=pause_s)
    assert len(receiver.attempts) == 1 + len(PAUSES_S)
    head.restart()
    (dead,) = head.announcer.outbox.listed()
    assert (dead.state, dead.job, dead.error) == ("given up", job, "it answers 503")
    receiver.always = 200
    assert head.announcer.outbox.retry([]) == 1
    head.work()
    assert [id for id, _ in receiver.taken] == [dead.id] and head.announcer.outbox.listed() == []


def test_an_endpoint_that_is_away_or_without_a_secret_delays_no_other(tmp_path, receiver, monkeypatch):
    away = Webhook(url="http://127.0.0.1:9/", secret_env="HOOK_SECRET")
    unsigned = Webhook(url=f"{receiver.url}/2", secret_env="ANOTHER")
    head = Head(tmp_path, away, unsigned, hook(receiver))
    head.run()
    head.work()
    assert len(receiver.taken) == 1
    errors = {delivery.url: delivery.error for delivery in head.announcer.outbox.listed()}
    assert "ConnectError" in errors[away.url] and "ANOTHER holds no webhook secret" in errors[unsigned.url]


def test_a_head_that_stops_between_two_steps_neither_loses_nor_doubles_a_message(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "job.finished", "hit", label="nude"))
    head.run(nude(1))
    head.restart()  # before it was noticed
    head.announcer.collect()
    head.restart()  # before it was sent
    head.work()
    head.restart()
    for _ in range(3):
        head.work(after_s=HITS_EVERY_S)
    assert sorted(message["type"] for _, message in receiver.taken) == ["hit", "job.finished"]


def test_each_end_of_a_job_that_is_resumed_is_told_once_and_its_hits_not_again(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver, "job.failed", "job.finished", "hit"))
    job = head.run(nude(1), exit_code=1)
    head.work()
    head.jobs.resume(job)
    head.jobs.tick()
    head.store(job, nude(1), nude(2), file="b")
    head.end(job)
    for _ in range(3):
        head.work(after_s=HITS_EVERY_S)
    assert [message["type"] for _, message in receiver.taken if message["type"] != "hit"] == [
        "job.failed",
        "job.finished",
    ]
    told = [message["data"]["assets"] for _, message in receiver.taken if message["type"] == "hit"]
    assert told == [[asset_id("s3://b/0001.jpg")], [asset_id("s3://b/0002.jpg")]]


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


def test_deliveries_to_an_address_that_was_removed_are_given_up(tmp_path, receiver):
    receiver.always = 500
    head = Head(tmp_path, hook(receiver))
    head.run()
    head.work()
    head.settings = head.settings.model_copy(update={"webhooks": ()})
    head.restart()
    head.work()
    (dead,) = head.announcer.outbox.listed()
    assert (dead.state, dead.error) == ("given up", UNKNOWN_URL)


def test_without_webhooks_nothing_is_kept(tmp_path):
    head = Head(tmp_path)
    head.run()
    head.work()
    assert head.jobs.store.ends() == [] and not (tmp_path / "webhooks.sqlite").exists()


def test_the_threads_of_the_queue_deliver(tmp_path, receiver):
    head = Head(tmp_path, hook(receiver))
    head.run()
    head.announcer.follow(0.2)
    for _ in range(1000):
        if receiver.taken:
            break
        receiver.handled.wait(0.1)
        receiver.handled.clear()
    assert len(receiver.taken) == 1
