"""Webhooks from the end of a job, or a hit, to a receiver; also over restarts of the head."""

from cluster.records import asset_id
from cluster.settings import ApiListener
from cluster.webhooks.endpoint import Webhook
from deployments.jobs.webhooks.announcing import HITS_EVERY_S
from deployments.jobs.webhooks.outbox import PAUSES_S, UNKNOWN_URL
from tests.deployments.jobs.webhooks.head import Head, hook, nude


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
