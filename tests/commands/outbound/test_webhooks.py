"""`raysift webhooks` with a receiver and a list of deliveries on disk."""

import pytest
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from deployments.jobs.webhooks.outbox import PAUSES_S, Delivery, Outbox
from tests.deployments.jobs.webhooks.receiver import SECRET, receiving


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("COLUMNS", "300")


def run(*arguments):
    done = CliRunner().invoke(raysift.cli, ["webhooks", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_a_test_message_is_signed_and_its_outcome_is_shown(tmp_path):
    with receiving() as receiver:
        (tmp_path / "settings.yaml").write_text(f"webhooks: [{{url: '{receiver.url}', secret_env: HOOK_SECRET}}]")
        assert "it took the message" in run("test")
        ((_, message),) = receiver.taken
        assert (message["type"], message["data"]) == ("test", {})
        receiver.always = 404
        with pytest.raises(SettingsError, match="1 of 1 endpoints"):
            run("test")


def test_without_endpoints_or_deliveries_the_commands_say_so():
    with pytest.raises(SettingsError, match="name no endpoint"):
        run("test")
    for command in ("list", "retry"):
        with pytest.raises(SettingsError, match="there was no message yet"):
            run(command)


def test_dead_letters_are_listed_with_the_reason_and_retried(tmp_path):
    outbox = Outbox(tmp_path / ".raysift" / "webhooks.sqlite")
    dead = Delivery("msg_1", "https://a.example", "job.failed", "scan-1", b"{}", 1.0, attempts=len(PAUSES_S))
    outbox.add(dead)
    outbox.record_attempt(dead, "it answers 503", 2.0)
    outbox.add(Delivery("msg_2", "https://b.example", "hit", "scan-1", b"{}", 3.0, due_at=9e9))
    printed = run("list")
    assert "msg_1" in printed and "it answers 503" in printed and "1 wait, 1 were given up" in printed
    assert "1 messages are due now" in run("retry")
    assert [delivery.id for delivery in outbox.due("https://a.example", 5.0)] == ["msg_1"]
    assert outbox.due("https://b.example", 5.0) == []
    run("retry", "msg_2")
    assert [delivery.id for delivery in outbox.due("https://b.example", 5.0)] == ["msg_2"]
    with pytest.raises(SettingsError, match="no such message"):
        run("retry", "msg_3")
    outbox.close()
