"""What happens between the plan of an erasure and its first change: jobs that end, other erasures, a start."""

from dataclasses import replace

import pytest

import raysift
from cluster.errors import SettingsError
from commands import up
from commands.erasure import running
from deployments.jobs.store import JobStore
from pipelines.erasure import pending
from pipelines.erasure.pending import Erasure
from tests.commands.erasure.commands import content, run, words
from tests.support.machine import GONE, JOB, OTHER, stored_row
from tests.support.stored import commit


@pytest.fixture
def at_stop(monkeypatch):
    """A function that has another one called when Raysift is stopped for an erasure."""
    stop = running._stop

    def patch(called):
        monkeypatch.setattr(running, "_stop", lambda *arguments: (stop(*arguments), called()))

    return patch


def test_what_a_job_has_stored_since_the_plan_was_made_is_erased_too(machine, at_stop):
    late = "s3://bucket/case-7/late.jpg"
    at_stop(lambda: commit(machine.results, "9.parquet", stored_row(OTHER, job="later") | {"uri": late}))
    done = run("erase", "--under", "s3://bucket/case-7", "--yes")
    assert done.exit_code == 0, done.exception
    assert machine.holding(late.encode(), b"case-7/") == []


def test_a_job_that_was_submitted_before_the_stop_is_seen_and_the_erasure_dropped(machine, at_stop):
    def submit():
        store = JobStore(machine.state / "jobs.sqlite")
        store.put(replace(machine.job, job="scan-2", state="running"))
        store.close()

    at_stop(submit)
    before = content(machine.results)
    refused = run("erase", "--asset", GONE, "--yes")
    assert "scan-2 are not over" in str(refused.exception) and "start it: raysift up" in words(refused)
    assert content(machine.results) == before and pending.read(machine.state) is None


def test_of_two_erasures_the_second_is_refused_and_the_first_one_is_still_noted(machine, at_stop):
    refused = []
    at_stop(lambda: refused.append(run("erase", "--resume").exception))
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    assert "is at work here" in str(refused[0])
    first = Erasure(id="first", by="ann", began="now", selected_by="asset", outs=[machine.out])
    plan = running.choose(
        first.model_copy(update={"id": "second", "assets": ["0" * 32], "jobs": [JOB]}), machine.settings
    )
    pending.keep(first, machine.state)
    with pytest.raises(SettingsError, match="was interrupted"):
        running.run(plan, yes=True)
    assert pending.read(machine.state).id == "first"


@pytest.mark.parametrize("start", [up.launch, up.launch_beside_ray])
def test_raysift_does_not_start_while_an_erasure_is_unfinished_or_at_work(machine, start):
    with pending.alone(machine.state), pytest.raises(SettingsError, match="`raysift erase`"):
        start(machine.settings, print)
    pending.keep(Erasure(id="e", by="ann", began="now", selected_by="asset", outs=[]), machine.state)
    with pytest.raises(SettingsError, match="raysift erase --resume"):
        start(machine.settings, print)


def test_a_demo_does_not_delete_the_note_of_an_unfinished_erasure(machine, monkeypatch):
    monkeypatch.setattr(raysift, "start", lambda settings: pytest.fail("it was started"))
    state = machine.state / "demo"
    with pending.alone(state):
        pending.keep(Erasure(id="e", by="ann", began="now", selected_by="asset", outs=[]), state)
    assert "raysift erase --resume" in str(run("demo").exception)
    assert pending.read(state).id == "e"


def test_an_erasure_that_was_killed_before_its_first_change_is_given_up_while_a_job_is_not_over(machine):
    with pending.alone(machine.state):
        pending.keep(Erasure(id="e", by="ann", began="now", selected_by="asset", outs=[machine.out]), machine.state)
    store = JobStore(machine.state / "jobs.sqlite")
    store.put(replace(machine.job, job="scan-2", state="running"))
    store.close()
    assert "scan-2 are not over" in str(run("erase", "--resume").exception)
    assert pending.read(machine.state) is None, "Raysift may start, and end the job"
