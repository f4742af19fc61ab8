"""`raysift backup` and `raysift restore`: what cannot be rebuilt comes back, everything else is rebuilt and counted."""

import shutil
import sqlite3
import stat
from contextlib import closing

import pytest

from cluster.access.audit import NOBODY, Audit
from cluster.access.credential import open_store
from cluster.access.holds import Holds
from cluster.access.store import AccessStore
from cluster.access.tokens import signing_secret
from cluster.api_queries import AssetQuery
from cluster.erasures import demand, mark
from cluster.records import asset_id
from commands.upkeep import manifest, restoring, saving
from commands.upkeep.manifest import Manifest
from deployments.catalog.catalog import Catalog
from deployments.catalog.database import FILE
from deployments.jobs.store import read_jobs
from pipelines.erasure import pending
from pipelines.erasure.pending import Erasure
from tests.commands.erasure.commands import content, run, words
from tests.support.machine import JOB, STAYS


def counted(machine):
    """What the catalogue has once it is loaded: files, and units of each job."""
    catalogue = Catalog(machine.state / FILE, of=machine.out)
    catalogue.close()  # once everything is loaded
    catalogue = Catalog(machine.state / FILE)
    total, jobs = catalogue.facets(AssetQuery())["total"], catalogue.jobs()
    catalogue.close()
    return total, jobs


def stored(machine):
    """Every row of every database that is saved, by its file: keys, users, cases, decisions, jobs, webhooks."""
    rows = {}
    for file in machine.state.glob("*.sqlite"):
        if not file.name.startswith("cache"):
            with closing(sqlite3.connect(file)) as database:
                rows[file.name] = list(database.iterdump())
    return rows


def lose_the_head(machine):
    """Delete all that is no results: the state folder with the indexes, and the galleries."""
    shutil.rmtree(machine.state)
    shutil.rmtree(machine.place / "galleries")


@pytest.fixture
def backup(machine, tmp_path):
    """A backup of a head with a key, a user, a hold, an audit log and rejected hits."""
    store = open_store(machine.settings)
    store.add_key("anna", "reviewer")
    store.add_user("bob", "a hash", "viewer")
    store.close()
    Holds(machine.state).add("anna", "case 7", under="s3://bucket/case-7")
    for n in range(3):
        Audit(machine.state).record(NOBODY, "signed in", str(n))
    demand(machine.settings)
    signing_secret(machine.state)
    done = run("backup", str(tmp_path / "saved"))
    assert done.exit_code == 0, done.output
    return tmp_path / "saved"


def test_a_lost_head_comes_back_and_what_is_rebuilt_has_the_same_counts(machine, backup):
    machine.fill_catalogue()
    before, rows = counted(machine), stored(machine)
    assert {"access.sqlite", "decisions.sqlite", "faces.sqlite", "jobs.sqlite", "webhooks.sqlite"} <= rows.keys()
    erased, secret = mark(machine.settings), signing_secret(machine.state)
    pictures = content(machine.place / "galleries")
    lose_the_head(machine)
    done = run("restore", str(backup))
    assert done.exit_code == 0, done.output
    assert "all 2 files of results are there, with 4 rows" in words(done)
    assert stored(machine) == rows
    assert counted(machine) == before and before[0] == 3
    assert [job.job for job in read_jobs(machine.state / "jobs.sqlite")] == [JOB]
    store = AccessStore(machine.state / "access.sqlite")
    assert "anna" in [key.name for key in store.list_keys()] and [user.name for user in store.users()] == ["bob"]
    store.close()
    assert signing_secret(machine.state) == secret
    assert [hold.reason for hold in Holds(machine.state).all()] == ["case 7"]
    assert [record["what"] for record in Audit(machine.state).records()] == [
        *["signed in"] * 3,
        "backup made",
        "backup restored",
    ]
    assert Audit(machine.state).verify().fault is None
    assert mark(machine.settings) == erased
    assert content(machine.place / "galleries") == pictures


@pytest.mark.chaos  # it starts a server
def test_the_vectors_are_rebuilt_too(machine, backup):
    from cluster.vectors import Vectors
    from tests.support.servers.chroma import chroma

    machine.fill_chroma()
    lose_the_head(machine)
    assert run("restore", str(backup)).exit_code == 0
    with chroma(machine.state / "chroma", machine.settings.chroma.port) as server:
        done = run("vectors", "rebuild")
        assert "6 vectors are in the index" in words(done)
        assert Vectors(server.url).count("faces") == 3 and Vectors(server.url).of_asset("faces", asset_id(STAYS))


def test_a_backup_is_for_its_owner_only_and_holds_no_index_cache_or_log(machine, backup):
    for path in [backup, *backup.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    names = {path.name for path in backup.rglob("*") if path.is_file()}
    assert {"access.sqlite", "jobs.sqlite", "webhooks.sqlite", "audit.jsonl", "audit.last", "holds.json"} <= names
    assert not any(name.endswith((".duckdb", ".log", "-wal", "-shm")) or name.startswith("cache") for name in names)


def test_sqlite_files_are_copied_whole_while_others_write_to_them(machine, tmp_path):
    with closing(sqlite3.connect(machine.state / "jobs.sqlite")) as writer:
        writer.execute("create table more(n)")
        writer.execute("insert into more values (1)")
        writer.commit()  # in the side file -wal, as the connection is open
        writer.execute("insert into more values (2)")  # not committed
        assert run("backup", str(tmp_path / "saved")).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "saved" / "state" / "jobs.sqlite")) as copy:
        assert copy.execute("select n from more").fetchall() == [(1,)]


def test_a_state_folder_that_is_in_use_is_not_touched(machine, backup):
    before = content(machine.place / "state")
    done = run("restore", str(backup))
    assert done.exit_code and "is in use" in str(done.exception) and content(machine.place / "state") == before


@pytest.mark.parametrize("fault", ["changed", "missing", "further", "manifest", "chain"])
def test_a_backup_with_a_fault_is_not_restored(machine, backup, fault):
    log = backup / "state" / "audit.jsonl"
    if fault == "changed":
        (backup / "state" / "holds.json").write_text("[]")
    elif fault == "missing":
        (backup / "state" / "holds.json").unlink()
    elif fault == "further":
        (backup / "state" / "more.json").write_text("{}")
    elif fault == "manifest":
        (backup / "manifest.json").write_text("{}")
    else:  # digests that fit, of a log that lacks its end
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
        saved = Manifest.model_validate_json((backup / "manifest.json").read_text())
        files = [manifest.saved(backup, backup / file.path) for file in saved.files]
        (backup / "manifest.json").write_text(saved.model_copy(update={"files": tuple(files)}).model_dump_json())
    lose_the_head(machine)
    done = run("restore", str(backup))
    assert done.exit_code and not (machine.state / "access.sqlite").exists()
    assert {
        "changed": "holds.json is not what was saved",
        "missing": "holds.json is missing",
        "further": "more.json is not in the manifest",
        "manifest": "holds no complete backup",
        "chain": "the audit log of",
    }[fault] in str(done.exception)


def test_a_restore_that_fails_half_way_leaves_no_part_of_a_state(machine, backup, monkeypatch):
    lose_the_head(machine)

    def full(path, folders):
        assert (machine.state / "access.sqlite").exists()
        raise OSError("no space")

    monkeypatch.setattr(restoring.database, "begin", full)
    with pytest.raises(OSError, match="no space"):
        run("restore", str(backup))
    assert [path.name for path in machine.state.rglob("*") if path.is_file()] == ["lock"]


def test_results_that_are_gone_since_the_backup_are_named(machine, backup):
    lose_the_head(machine)
    (machine.results / "2.parquet").unlink()
    done = run("restore", str(backup))
    assert done.exit_code and "1 of 2 files of results are missing or changed since then" in str(done.exception)
    assert "2.parquet" in str(done.exception) and (machine.state / "access.sqlite").exists()


def test_a_folder_that_was_compacted_since_the_backup_is_not_taken_for_lost(machine, backup):
    assert run("compact").exit_code == 0
    lose_the_head(machine)
    done = run("restore", str(backup))
    assert done.exit_code == 0, done.output
    assert f"{machine.out} was compacted since then" in words(done) and "are missing" not in words(done)


def test_galleries_that_are_not_empty_are_left_as_they_are(machine, backup):
    shutil.rmtree(machine.state)
    before = content(machine.place / "galleries")
    done = run("restore", str(backup))
    assert "they were left as they are" in words(done) and content(machine.place / "galleries") == before


def test_places_that_cannot_hold_a_backup_are_refused(machine, tmp_path):
    assert "lies in the folder that is saved" in str(run("backup", str(machine.state / "saved")).exception)
    (tmp_path / "there").mkdir()
    assert "Name a new folder" in str(run("backup", str(tmp_path / "there")).exception)


def test_no_backup_is_made_in_the_middle_of_an_erasure(machine, tmp_path):
    (machine.state / "erasures").mkdir()
    erasure = Erasure(id="e", by="anna", began="2026-11-22", selected_by="asset", outs=[])
    pending.keep(erasure, machine.state)
    assert "raysift erase --resume" in str(run("backup", str(tmp_path / "saved")).exception)
    assert not (tmp_path / "saved").exists()


def test_an_audit_log_with_a_fault_is_not_hidden_by_a_backup(machine, tmp_path):
    Audit(machine.state).record(NOBODY, "signed in")
    log = machine.state / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"signed in", b"signed up"))
    assert "raysift audit verify" in str(run("backup", str(tmp_path / "saved")).exception)
    assert not (tmp_path / "saved" / "manifest.json").exists()


def test_everything_in_the_state_folder_is_saved_or_known_to_be_rebuilt(machine):
    (machine.state / "of_a_later_version.sqlite").write_bytes(b"new")
    assert "of_a_later_version.sqlite" in [str(path) for path in saving.state_files(machine.settings)]
