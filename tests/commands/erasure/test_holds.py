"""`raysift hold`, and what a hold and the retention do to `raysift erase`."""

import json
import stat
import time

import pytest

from cluster.access.audit import Audit
from cluster.access.holds import Holds
from cluster.errors import SettingsError
from cluster.records import asset_id
from pipelines.erasure import erasing
from tests.commands.erasure.commands import content, run
from tests.support.machine import GONE, JOB, OTHER, STAYS, stored_row
from tests.support.stored import NOON, commit

DAYS = (time.time() - NOON.timestamp()) / 86_400


def test_a_hold_is_added_listed_and_removed_and_all_of_it_is_recorded(machine):
    assert run("hold", "add", "--under", "s3://bucket/case-7/", "--reason", "case [7]").exit_code == 0
    (hold,) = Holds(machine.state).all()
    assert (hold.under, hold.asset, hold.reason) == ("s3://bucket/case-7", None, "case [7]")
    assert stat.S_IMODE((machine.state / "holds.json").stat().st_mode) == 0o600
    listed = run("hold", "list").output
    assert hold.id in listed and "case [7]" in listed and hold.by in listed
    assert run("hold", "remove", hold.id).exit_code == 0
    assert Holds(machine.state).all() == []
    assert "there is no hold" in str(run("hold", "remove", hold.id).exception)
    assert [(record["what"], record["of"]) for record in Audit(machine.state).records()] == [
        ("hold added", hold.id),
        ("hold removed", hold.id),
    ]


@pytest.mark.parametrize("wrong", [[], ["--under", "s3://b", "--asset", "0" * 32], ["--under", "s3://b/\udc80"]])
def test_a_hold_needs_one_place_and_a_reason(machine, wrong):
    assert isinstance(run("hold", "add", "--reason", "why", *wrong).exception, SettingsError)
    assert isinstance(run("hold", "add", "--under", "s3://b", "--reason", " ").exception, SettingsError)
    assert Holds(machine.state).all() == []


@pytest.mark.parametrize(
    ("held", "erased"),
    [
        (["--under", "s3://bucket/case-7"], ["--asset", GONE]),
        (["--asset", GONE], ["--under", "s3://bucket"]),
        (["--asset", asset_id(GONE)], ["--job", JOB]),
        (["--under", "s3://bucket"], ["--job", "later"]),
    ],
)
def test_a_held_file_is_not_erased_and_the_refusal_names_the_hold(machine, held, erased):
    (machine.results / "_raysift" / "jobs" / "later").mkdir()
    assert run("hold", "add", *held, "--reason", "case 7").exit_code == 0
    before = content(machine.results)
    refused = str(run("erase", *erased, "--yes").exception)
    (hold,) = Holds(machine.state).all()
    assert f"a legal hold forbids it: {hold}" in refused and "raysift hold remove ID" in refused
    assert content(machine.results) == before and not (machine.state / "erasures").exists()


def test_a_held_container_keeps_its_members_and_a_held_member_its_container(machine):
    archive = "s3://bucket/case-7/a.zip"
    member = f"{archive}!in/gone.jpg"
    rows = [stored_row(GONE, kind="container") | {"uri": archive}, stored_row(GONE, parent=archive) | {"uri": member}]
    commit(machine.results, "6.parquet", *rows)
    for held, erased in ((archive, member), (member, archive)):
        run("hold", "add", "--asset", held, "--reason", "case 7")
        assert "a legal hold" in str(run("erase", "--asset", erased, "--yes").exception)
        run("hold", "remove", Holds(machine.state).all()[0].id)
    assert run("erase", "--asset", archive, "--yes").exit_code == 0
    assert machine.holding(member.encode()) == []


@pytest.mark.parametrize("hold", [{"asset": asset_id("s3://b/z.zip!q.zip")}, {"under": "s3://b/z.zip!q.zip"}])
def test_a_hold_on_a_container_in_a_container_holds_its_members(tmp_path, hold):
    held = Holds(tmp_path).add("ann", "case 7", **hold)
    assert held.covers("s3://b/z.zip!q.zip", "s3://b/z.zip") and held.covers("s3://b/z.zip!q.zip!r.jpg", "s3://b/z.zip")
    for uri, parent in (
        ("s3://b/z.zip", None),
        ("s3://b/z.zip!q.zipped", "s3://b/z.zip"),
        ("s3://b/z.zip!q.zip", None),
    ):
        assert held.covers(uri, parent) == (uri == "s3://b/z.zip!q.zip")


def test_a_hold_that_is_set_while_an_erasure_is_interrupted_stops_it(machine, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(erasing.rewriting, "erase_results", crash)
        with pytest.raises(Crash):
            run("erase", "--asset", GONE, "--yes")
    run("hold", "add", "--asset", GONE, "--reason", "case 7")
    assert "a legal hold forbids it" in str(run("erase", "--resume").exception)
    assert "results/1.parquet" in machine.holding(GONE.encode())
    run("hold", "remove", Holds(machine.state).all()[0].id)
    assert run("erase", "--resume").exit_code == 0


def test_without_the_heads_state_folder_nothing_is_erased_and_no_hold_is_set(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "elsewhere"))
    for command in (["erase", "--asset", GONE, "--yes"], ["erase", "--resume"], ["hold", "list"],
                    ["hold", "add", "--asset", GONE, "--reason", "case 7"]):  # fmt: skip
        assert "not the state folder of a cluster's head" in str(run(*command).exception)
    assert machine.holding(GONE.encode()) and not (tmp_path / "elsewhere").exists()


def test_holds_that_cannot_be_read_forbid_every_erasure(machine):
    (machine.state / "holds.json").write_text("[{]")
    refused = run("erase", "--asset", GONE, "--yes")
    assert "nothing can be erased" in str(refused.exception) and machine.holding(GONE.encode())


def test_old_files_are_erased_with_the_folders_of_old_jobs_and_newer_ones_stay(machine):
    commit(machine.results, "7.parquet", stored_row(STAYS, job="later", minutes=3 * 1440))
    assert "nothing of it is stored" in run("erase", "--older-than", f"{DAYS + 1}d", "--yes").output
    assert run("erase", "--older-than", f"{DAYS - 1}d", "--yes").exit_code == 0
    assert machine.holding(GONE.encode(), OTHER.encode()) == []
    assert "results/7.parquet" in machine.holding(STAYS.encode())
    assert not (machine.results / "_raysift" / "jobs" / JOB).exists()


def test_the_retention_leaves_out_what_is_held_and_goes_on(machine, monkeypatch):
    unset = run("erase", "--retention", "--yes")
    assert "retention.days is not set" in str(unset.exception)
    monkeypatch.setenv("RAYSIFT_RETENTION__DAYS", str(DAYS - 1))
    run("hold", "add", "--asset", GONE, "--reason", "case 7")
    done = run("erase", "--retention", "--yes")
    assert done.exit_code == 0, done.exception
    assert "1 old files stay" in done.output and "names files that are held and stays" in done.output
    assert machine.holding(STAYS.encode(), OTHER.encode()) == []
    assert {"results/1.parquet", "results/2.parquet"} <= set(machine.holding(GONE.encode()))
    job = machine.results / "_raysift" / "jobs" / JOB / "job.json"
    assert json.loads(job.read_text())["uris"] == ["s3://bucket/case-7", GONE]
