"""`raysift hold`, and what a hold and the retention do to `raysift erase`."""

import json
import stat
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.access import holds
from cluster.access.audit import Audit
from cluster.access.holds import Holds
from cluster.errors import SettingsError
from cluster.records import asset_id
from commands.erasure import running
from pipelines.erasure import erasing, pending
from pipelines.ledger.listing import LEDGER
from tests.commands.erasure.commands import content, run, words
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


def test_a_hold_that_cannot_be_recorded_is_neither_added_nor_removed(machine):
    assert run("hold", "add", "--under", "s3://bucket/case-7/", "--reason", "case 7").exit_code == 0
    held = Holds(machine.state).all()
    (machine.state / "audit.jsonl").unlink()
    (machine.state / "audit.jsonl").mkdir()
    for change in (("add", "--under", "s3://bucket/case-8/", "--reason", "case 8"), ("remove", held[0].id)):
        with pytest.raises(IsADirectoryError):
            run("hold", *change)
    assert Holds(machine.state).all() == held


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
    assert "nothing of it is stored" in words(run("erase", "--older-than", f"{DAYS + 1}d", "--yes"))
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
    assert "1 old files stay" in words(done) and "names files that are held and stays" in words(done)
    assert machine.holding(STAYS.encode(), OTHER.encode()) == []
    assert {"results/1.parquet", "results/2.parquet"} <= set(machine.holding(GONE.encode()))
    job = machine.results / "_raysift" / "jobs" / JOB / "job.json"
    assert json.loads(job.read_text())["uris"] == ["s3://bucket/case-7", GONE]


def test_a_container_with_a_held_member_stays_and_the_rest_of_it_is_erased(machine, monkeypatch):
    archive = "s3://bucket/case-9/a.zip"
    members = [f"{archive}!{name}.jpg" for name in ("held", "old")]
    rows = [stored_row(OTHER, parent=archive) | {"uri": uri} for uri in members]
    commit(machine.results, "8.parquet", stored_row(OTHER, kind="container") | {"uri": archive}, *rows)
    (machine.state / "scan.log").write_text("\n".join([archive, *members]))
    job = machine.results / "_raysift" / "jobs" / "later"
    job.mkdir()
    (job / "job.json").write_text(json.dumps({"uris": [archive, *members]}))
    monkeypatch.setenv("RAYSIFT_RETENTION__DAYS", str(DAYS - 1))
    run("hold", "add", "--asset", members[0], "--reason", "case 9")
    done = run("erase", "--retention", "--yes")
    assert done.exit_code == 0, done.exception
    assert json.loads((job / "job.json").read_text())["uris"] == [archive, members[0], "[erased]"]
    assert (machine.state / "scan.log").read_text() == f"{archive}\n{members[0]}\n"
    assert machine.holding(members[1].encode()) == []
    assert "results/8.parquet" in machine.holding(archive.encode() + b"\0", members[0].encode())


def test_a_hold_on_the_root_covers_every_file_there_and_nothing_else_is_a_folder_to_erase(machine):
    assert run("hold", "add", "--under", "/", "--reason", "case 7").exit_code == 0
    (hold,) = Holds(machine.state).all()
    assert hold.covers("file:///data/a.jpg") and not hold.covers("s3://b/a.jpg")
    assert "is no folder and no bucket" in str(run("erase", "--under", "/").exception)


def test_a_hold_that_is_set_before_the_first_change_stops_the_erasure_which_is_dropped(machine, monkeypatch):
    collect = running.collect

    def held_meanwhile(*arguments):
        collect(*arguments)
        assert run("hold", "add", "--asset", GONE, "--reason", "case 7").exit_code == 0

    monkeypatch.setattr(running, "collect", held_meanwhile)
    before = content(machine.results)
    assert "a legal hold forbids it" in str(run("erase", "--asset", GONE, "--yes").exception)
    assert content(machine.results) == before and pending.read(machine.state) is None


def test_a_hold_that_comes_too_late_is_refused(machine, monkeypatch):
    refused = []

    def late(*_):
        refused.append(str(run("hold", "add", "--asset", GONE, "--reason", "case 7").exception))
        return {}

    monkeypatch.setattr(holds, "WAIT_S", 0.0)
    monkeypatch.setattr(erasing.rewriting, "erase_log_lines", late)
    run("erase", "--asset", GONE, "--yes")
    assert len(refused) == 1 and "an erasure is at work" in refused[0]
    assert Holds(machine.state).all() == []


@pytest.mark.parametrize("erased", [["--job", JOB], ["--older-than", f"{DAYS - 1}d"]])
def test_a_hold_on_a_file_that_only_a_folder_of_a_job_names_stops_a_resumed_erasure(machine, monkeypatch, erased):
    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    named = "s3://bucket/case-7/named.jpg"
    rows = [{field.name: None for field in LEDGER} | {"uri": named}]
    ledger = machine.results / "_raysift" / "jobs" / JOB / "ledger" / "000001.parquet"
    pq.write_table(pa.Table.from_pylist(rows, LEDGER), ledger)
    with monkeypatch.context() as patch:
        patch.setattr(erasing.rewriting, "erase_results", crash)
        with pytest.raises(Crash):
            run("erase", *erased, "--yes")
    run("hold", "add", "--asset", named, "--reason", "case 7")
    assert "a legal hold forbids it" in str(run("erase", "--resume").exception) and ledger.exists()
