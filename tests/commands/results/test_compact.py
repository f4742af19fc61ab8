"""`raysift compact` on a head, and the erasure of what it has compacted."""

import json
from dataclasses import replace

from cluster.access.audit import Audit
from cluster.records import asset_id
from cluster.results import files as results_files
from cluster.results import layout
from deployments.jobs import folder
from deployments.jobs.store import JobStore
from pipelines.erasure import pending
from tests.commands.erasure.commands import proof, run, words
from tests.support.machine import GONE, JOB, OTHER, STAYS, stored_row, traces
from tests.support.stored import commit


def uris(out):
    return sorted(uri for table in results_files.scan(out, ["uri"]) for uri in table["uri"].to_pylist())


def aged(machine):
    """Let the grace of what was replaced be over."""
    place = machine.results / layout.MANIFEST
    manifest = json.loads(place.read_text())
    for replaced in manifest["replaced"].values():
        replaced["at"] -= layout.GRACE_S
    place.write_text(json.dumps(manifest))


def test_results_are_compacted_and_what_was_replaced_is_deleted_by_a_later_run(machine):
    done = run("compact")
    assert done.exit_code == 0, done.exception
    assert "2 files with 4 rows are replaced by 1 files; 1 rows are left out" in words(done)
    assert uris(machine.out) == sorted([GONE, STAYS, OTHER])
    assert (machine.results / "1.parquet").exists() and "nothing was compacted" in words(run("compact"))
    aged(machine)
    assert "2 files that earlier runs have replaced are deleted" in words(run("compact", "--out", machine.out))
    assert not list(machine.results.glob("*.parquet")) and uris(machine.out) == sorted([GONE, STAYS, OTHER])
    (recorded,) = [one for one in Audit(machine.state).records() if one["what"] == "results compacted"]
    assert (recorded["of"], recorded["files"], recorded["dropped"]) == (machine.out, 2, 1)


def test_jobs_that_are_not_over_by_any_list_are_left_alone(machine):
    store = JobStore(machine.state / "jobs.sqlite")
    store.put(replace(machine.job, state="blocked"))
    store.close()
    commit(machine.results / "job=elsewhere", "1.parquet", stored_row(OTHER, job="elsewhere"))
    folder.write(machine.out, "elsewhere", "queue", {"state": "running"})
    commit(machine.results / "job=unlisted", "1.parquet", stored_row(OTHER, job="unlisted"))
    folder.write(machine.out, "unlisted", "job", {})
    done = words(run("compact"))
    assert "1 files with 2 rows are replaced" in done and "3 files are left alone: their jobs are not over" in done


def test_answers_about_held_files_stay_and_no_erasure_may_be_under_way(machine):
    assert run("hold", "add", "--asset", GONE, "--reason", "case 7").exit_code == 0
    assert "4 rows are replaced by 1 files; 0 rows are left out" in words(run("compact"))
    assert uris(machine.out).count(GONE) == 2
    with pending.alone(machine.state):
        assert "Wait for its end" in str(run("compact").exception)


def test_a_file_is_erased_from_compacted_results_and_from_what_they_replace(machine):
    run("compact")
    compacted = f"results/_raysift/jobs/{JOB}/compacted/"
    assert any(file.startswith(compacted) for file in machine.holding(GONE.encode()))
    done = run("erase", "--asset", GONE, "--yes")
    assert done.exit_code == 0, done.exception
    assert machine.holding(*traces(GONE)) == [f"state/erasures/{proof(machine)['erasure']}.json"]
    assert proof(machine)["assets"] == [asset_id(GONE)] and uris(machine.out) == sorted([STAYS, OTHER])
    (kept,) = results_files.of_job(machine.out, JOB)
    assert "/compacted/run-" in kept and results_files.read(kept, ["uri"])["uri"].to_pylist() == [STAYS]


def test_a_job_is_erased_from_compacted_results_and_from_its_own_folder(machine):
    run("compact")
    commit(machine.results / f"job={JOB}", "1.parquet", stored_row(STAYS, job=JOB, unit=1, minutes=1))
    assert run("erase", "--job", JOB, "--yes").exit_code == 0
    assert machine.holding(STAYS.encode()) == [] and uris(machine.out) == sorted([GONE, OTHER])
    assert not [path for path in machine.results.rglob("*") if JOB in path.name]
