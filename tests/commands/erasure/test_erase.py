"""`raysift erase` on a head's real stores: dry run, erasure, proof, crash, holds, retention."""

import json
import subprocess
import sys
from contextlib import closing, nullcontext
from dataclasses import replace

import duckdb
import httpx
import pytest

from cluster import cache
from cluster.access.audit import Audit
from cluster.cases.store import CaseStore
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.records import asset_id
from cluster.settings import Settings
from cluster.vectors import Vectors
from commands.erasure import running
from deployments.catalog.catalog import Catalog
from deployments.jobs.store import JobStore, read_jobs
from pipelines.erasure import erasing
from pipelines.results import folders
from tests.commands.erasure.commands import content, proof, run, words
from tests.support.machine import FACE, GONE, JOB, OTHER, STAYS, as_bytes, stored_row, traces
from tests.support.servers.chroma import chroma
from tests.support.stored import commit


def test_a_dry_run_changes_nothing_and_lists_every_store(machine):
    before = content(machine.place)
    done = run("erase", "--asset", asset_id(GONE))
    assert done.exit_code == 0, done.exception
    assert "2 rows with 4 vectors, in 2 Parquet files: 1 files everywhere" in words(done)
    assert "Nothing was changed" in words(done) and "original media" in words(done)
    assert {file: text for file, text in content(machine.place).items() if "sqlite" not in file.name} == {
        file: text for file, text in before.items() if "sqlite" not in file.name
    }
    assert machine.holding(*traces(GONE))


@pytest.mark.timeout(180)  # it starts Chroma three times
def test_an_erased_file_is_in_no_byte_of_any_store_and_others_are_found(machine):
    machine.fill_catalogue()
    machine.fill_chroma()
    assert any("chroma" in file for file in machine.holding(*traces(GONE)))
    done = run("erase", "--asset", GONE, "--yes")
    assert done.exit_code == 0, done.exception
    left = machine.holding(*traces(GONE))
    assert left == [f"state/erasures/{proof(machine)['erasure']}.json"], "only the proof has its id"
    assert machine.holding(GONE.encode()) == [] and not (machine.state / "erasures" / "pending.json").exists()
    assert proof(machine)["traces"] == 0 and proof(machine)["assets"] == [asset_id(GONE)]
    assert proof(machine)["searched_for"]["vectors"] == 4
    assert {"vector store", "catalogue", "list of jobs", "galleries", "decisions"} <= set(proof(machine)["stores"])
    with chroma(machine.state / "chroma", machine.settings.chroma.port) as server:
        vectors = Vectors(server.url)
        assert vectors.search("faces", FACE[STAYS], 1)[0].asset == asset_id(STAYS)
        assert {hit.asset for hit in vectors.search("faces", FACE[GONE], 9)} == {asset_id(STAYS), asset_id(OTHER)}
    catalogue = Catalog(machine.state / "catalog-3.duckdb")  # the next start opens it, and loads in its background
    catalogue.close()
    with closing(duckdb.connect(str(machine.state / "catalog-3.duckdb"))) as database:
        assert set(database.sql("select uri from files").fetchall()) == {(STAYS,), (OTHER,)}
    assert Audit(machine.state).verify().fault is None
    last = list(Audit(machine.state).records())[-1]
    assert (last["what"], last["assets"], last.get("traces", 0)) == ("erased", [asset_id(GONE)], 0)


STEPS = ("rewriting.erase_results", "rewriting.erase_job_folders", "rewriting.erase_job_list", "begin_again",
         "rewriting.erase_outbox", "_erase_caches", "_erase_faces", "rebuild_vectors")  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
def test_an_erasure_that_was_interrupted_at_any_step_is_finished_by_a_second_run(machine, monkeypatch, before):
    class Crash(BaseException):
        pass

    def crashing(step):
        def replaced(*arguments):
            if not before:
                step(*arguments)
            raise Crash

        return replaced

    machine.fill_catalogue()
    first = True
    for step in STEPS:
        owner = erasing.rewriting if "." in step else erasing
        with monkeypatch.context() as patch:
            name = step.rpartition(".")[2]
            patch.setattr(owner, name, crashing(getattr(owner, name)))
            with pytest.raises(Crash):
                run("erase", *(["--asset", GONE, "--yes"] if first else ["--resume"]))
        first = False
        again = run("erase", "--asset", OTHER, "--yes")
        assert "was interrupted. Finish it first: raysift erase --resume" in str(again.exception)
    done = run("erase", "--resume")
    assert done.exit_code == 0, done.exception
    assert machine.holding(*traces(GONE)) == [f"state/erasures/{proof(machine)['erasure']}.json"]
    assert proof(machine)["searched_for"]["vectors"] == 4, "what is searched for was read before the first change"
    assert machine.holding(STAYS.encode()) and "there is nothing to resume" in str(run("erase", "--resume").exception)


def test_a_crash_while_a_parquet_file_is_replaced_leaves_the_old_file_and_a_rerun_finishes(machine, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(erasing.rewriting.pq, "write_table", crash)
        with pytest.raises(Crash):
            run("erase", "--asset", GONE, "--yes")
    assert {"results/1.parquet", "results/2.parquet"} <= set(machine.holding(GONE.encode()))
    assert run("erase", "--resume").exit_code == 0
    assert machine.holding(GONE.encode()) == []


def test_a_proof_with_traces_fails_names_the_store_and_can_be_repeated(machine):
    stray = machine.state / "stray.bin"
    stray.write_bytes(b"x" * 999 + as_bytes(FACE[GONE]))
    failed = run("erase", "--asset", GONE, "--yes")
    assert "3 traces are left" in str(failed.exception) and "3 vectors" in words(failed)
    assert proof(machine)["stores"]["rest of the state folder"]["traces"] == {"vectors": 3}
    stray.unlink()
    assert run("erase", "--resume").exit_code == 0
    assert proof(machine)["traces"] == 0


def test_decisions_on_an_erased_file_are_gone_and_notes_on_others_do_not_name_it(machine):
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    store = DecisionStore(machine.state / "decisions.sqlite")
    assert store.history(asset_id(GONE)) == []
    assert [decision.note for decision in store.history(asset_id(STAYS))] == ["[erased]", "a street"]
    store.close()


def test_an_erased_file_leaves_the_cases(machine):
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    cases = CaseStore(machine.state / "access.sqlite")
    assert [case.folders for case in cases.all()] == [(OTHER,)]
    cases.close()


def test_a_folder_is_erased_with_everything_that_names_it(machine):
    assert run("erase", "--under", "s3://bucket/case-7/", "--yes").exit_code == 0
    assert machine.holding(*traces(STAYS)[2:], *traces(GONE)[2:], b"case-7/") == []
    assert machine.holding(OTHER.encode()) == ["results/2.parquet", "state/access.sqlite"]
    job = json.loads((machine.results / "_raysift" / "jobs" / JOB / "job.json").read_text())
    assert job["uris"] == ["s3://bucket/case-7", "[erased]"], "the folder itself was named by whoever scanned it"
    assert proof(machine)["searched_for"]["vectors"] == 6


def test_a_job_is_erased_with_its_folder_and_files_of_other_jobs_keep_their_rows(machine):
    done = run("erase", "--job", JOB, "--yes")
    assert done.exit_code == 0, done.exception
    assert machine.holding(*traces(STAYS)) == [f"state/erasures/{proof(machine)['erasure']}.json"]
    assert not (machine.results / "_raysift" / "jobs" / JOB).exists()
    assert "results/2.parquet" in machine.holding(GONE.encode()), "another job has scanned it too"
    assert "there is no job" in str(run("erase", "--job", "scan-of-nothing").exception)


def test_equal_files_keep_their_vectors_and_the_proof_says_so(machine, monkeypatch):
    copy = "s3://bucket/case-7/copy.jpg"
    commit(machine.results, "4.parquet", stored_row(GONE, job="later") | {"uri": copy})
    done = run("erase", "--asset", copy, "--yes")
    assert done.exit_code == 0, done.exception
    assert machine.holding(copy.encode()) == [] and machine.holding(*traces(GONE)[2:])
    assert proof(machine)["searched_for"]["pieces that files with equal content keep"] > 0


def test_nodes_that_share_the_galleries_erase_their_caches_before_they_use_them(machine, tmp_path):
    worker = Settings(state_dir=tmp_path / "worker", galleries_uri=machine.settings.galleries_uri)
    answers = cache.open_cache(worker)
    answers.put({"gone": as_bytes(FACE[GONE])})
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    assert not any("state/cache" in file for file in machine.holding(as_bytes(FACE[GONE])))
    assert cache.open_cache(worker).get(["gone"]) == {}
    assert machine.holding(as_bytes(FACE[GONE])) == []


def test_caches_of_all_nodes_are_erased_by_the_api_while_it_answers(machine, monkeypatch):
    asked, answers = [], iter([True, False])

    def answer(request):
        asked.append((request.method, request.url.path))
        return httpx.Response(200, json={"entries": {"head": 2, "worker": 5}, "failed": {}, "away": ["far"]})

    api = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api")
    monkeypatch.setattr(running, "api_client", lambda settings: nullcontext(api))
    monkeypatch.setattr(running, "_api_answers", lambda settings: next(answers))
    done = run("erase", "--asset", GONE, "--yes")
    assert done.exit_code == 0, done.exception
    assert asked == [("DELETE", "/v1/cache")]
    assert proof(machine)["caches"]["entries"] == {"head": 2, "worker": 5}
    assert any(
        "the cache of far: it is erased before it is used again" in one for one in proof(machine)["not_searched"]
    )
    assert "cached answers, of any file, on worker" in words(done)


def test_a_serve_that_goes_on_stops_the_erasure(machine, monkeypatch):
    caches = {"entries": {}, "failed": {}, "away": []}
    api = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json=caches)), base_url="http://api"
    )
    monkeypatch.setattr(running, "api_client", lambda settings: nullcontext(api))
    monkeypatch.setattr(running, "_api_answers", lambda settings: True)
    refused = run("erase", "--asset", GONE, "--yes")
    assert "`serve shutdown --yes`" in str(refused.exception) and machine.holding(*traces(GONE))


def test_folders_that_only_the_catalogue_knows_are_searched_too(machine, monkeypatch, tmp_path):
    more = tmp_path / "more"
    commit(more, "1.parquet", stored_row(GONE))
    catalogue = Catalog(machine.state / "catalog-3.duckdb")
    catalogue.load_all(more.as_uri())
    with pytest.MonkeyPatch.context() as patch:  # as if the running cluster had the file open
        patch.setattr(folders, "folders_of", lambda path: set())
        catalogue.close()
        refused = run("erase", "--asset", GONE, "--yes")
    assert f"there are also results in {more.as_uri()}" in str(refused.exception) and machine.holding(*traces(GONE))
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    assert machine.holding(GONE.encode()) == []


def test_a_catalogue_that_is_open_elsewhere_stops_the_erasure(machine):
    code = "import duckdb, sys, time; db = duckdb.connect(sys.argv[1]); print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(machine.state / "catalog-3.duckdb")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        refused = run("erase", "--asset", GONE, "--yes")
        holder.kill()
    assert "does not open" in str(refused.exception) and machine.holding(*traces(GONE))


def test_results_in_an_erased_folder_are_refused(machine):
    refused = run("erase", "--under", str(machine.place), "--yes")
    assert "the results" in str(refused.exception) and "lie in it" in str(refused.exception)


def test_the_counts_of_a_job_still_add_up(machine):
    assert run("erase", "--asset", GONE, "--yes").exit_code == 0
    place = machine.results / "_raysift" / "jobs" / JOB
    for page in ("job.json", "queue.json"):
        job = json.loads((place / page).read_text())
        assert (job["units"], job["files_listed"]) == (1, 2), "one is left of two in the ledger, and one left out"
    (job,) = read_jobs(machine.state / "jobs.sqlite")
    assert (job.units, job.files_listed) == (1, 2)


def test_a_job_that_is_not_over_stops_the_erasure(machine):
    store = JobStore(machine.state / "jobs.sqlite")
    store.put(replace(machine.job, job="scan-2", state="running"))
    store.close()
    refused = run("erase", "--asset", GONE, "--yes")
    assert "scan-2 are not over" in str(refused.exception)
    assert machine.holding(*traces(GONE)) and not (machine.state / "erasures").exists()


def test_what_is_not_stored_is_not_erased(machine):
    before = content(machine.results)
    done = run("erase", "--asset", "0" * 32, "--yes")
    assert done.exit_code == 0 and "nothing of it is stored" in words(done)
    assert content(machine.results) == before
    for arguments in ([], ["--asset", GONE, "--under", "s3://bucket"], ["--older-than", "soon"]):
        assert isinstance(run("erase", *arguments).exception, SettingsError)


def test_nothing_is_kept_of_the_drivers_of_an_erased_job(machine):
    store = JobStore(machine.state / "jobs.sqlite")
    store.put(replace(machine.job, attempts=(f"{JOB}-2",)))
    for attempt in (f"{JOB}-2", "another-2"):
        store.assign(attempt, "driver")
    store.close()
    assert run("erase", "--job", JOB, "--yes").exit_code == 0
    left = (machine.state / "jobs.sqlite").read_bytes()
    assert b"another-2" in left and JOB.encode() not in left
    assert any("raysift-export-" in place for place in proof(machine)["not_searched"])


def test_a_file_whose_address_begins_with_an_erased_one_stays_named(machine):
    archive, other = "s3://bucket/case-9/x.zip", "s3://bucket/case-9/x.zip (2).zip"
    commit(machine.results, "7.parquet", *(stored_row(OTHER, job=JOB) | {"uri": uri} for uri in (archive, other)))
    page = machine.results / "_raysift" / "jobs" / JOB / "more.json"
    page.write_text(json.dumps({"uris": [archive, other], "message": f"{archive} (damaged) is left out"}))
    (machine.state / "scan.log").write_text(f"opened {archive}\nopened {other}\n")
    done = run("erase", "--asset", archive, "--yes")
    assert done.exit_code == 0, done.exception
    assert json.loads(page.read_text()) == {"uris": ["[erased]", other], "message": "[erased] (damaged) is left out"}
    assert (machine.state / "scan.log").read_text() == f"opened {other}\n"
    assert "results/7.parquet" in machine.holding(other.encode())
