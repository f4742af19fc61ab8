"""Results, a job's folder, databases and settings that version 0.1 wrote (tests/data/results-0.1), read by this one."""

import gzip
import io
import json
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pytest

from cluster import settings
from cluster.api_queries import AssetQuery, ExportQuery
from cluster.records import ModelVersion, asset_id
from cluster.results import codec, embeddings
from cluster.results import files as results_files
from cluster.results.merge import Known
from cluster.results.newest import newest_answers, newest_contents, newest_rows
from deployments.catalog.catalog import Catalog
from deployments.jobs import folder as job_folder
from deployments.jobs.store import JobStore
from pipelines.evaluation import answers
from pipelines.ledger.stored import stored
from pipelines.results import costs
from pipelines.results.exporting import export
from pipelines.results.reconcile import Reconciliation, reconcile
from tests.support.paths import ROOT
from tests.support.stored import commit, found, row

JOB = "scan-20261122-120000-abcdef"
FIRST, SECOND, GONE = (f"s3://evidence/images/{n}.jpg" for n in (1, 2, 3))
FILM = "s3://evidence/film.mp4"


@pytest.fixture
def former(tmp_path) -> Path:
    """A copy of the folder that is the test's own."""
    return Path(shutil.copytree(ROOT / "tests" / "data" / "results-0.1", tmp_path / "results"))


def test_every_column_is_read_under_its_current_name(former):
    tables = [results_files.read(file, codec.SCHEMA.names) for file in results_files.committed(str(former))]
    assert all(table.schema.equals(codec.SCHEMA) for table in tables)
    rows = {(r["uri"], r["segment"], r["job"]): r for r in pa.concat_tables(tables).to_pylist()}
    assert len(rows) == 6
    assert rows[FILM, 0, JOB]["frames_propagated"] == 20
    assert [d["propagated"] for d in rows[FILM, 0, JOB]["detections"]] == [False, True, False, False]
    assert rows[FIRST, None, JOB]["usage"][3] == {"detector": "ocr", "seconds": 1.5, "gpu_seconds": 0, "reused": True}
    assert rows[FIRST, None, JOB]["model_versions"][2] == {"detector": "nsfw", "model": "m1", "floor": 0.25}
    assert all(row["sequence"] < 0 for row in rows.values())
    scanned = pa.concat_tables(results_files.scan(str(former), codec.SCHEMA.names, job=JOB))
    assert {row["uri"] for row in scanned.to_pylist()} == {FIRST, SECOND, GONE, FILM} and len(scanned) == 5


def test_findings_are_decoded_with_their_vectors(former):
    tables = [results_files.read(file, codec.SCHEMA.names) for file in results_files.committed(str(former))]
    by_row = [finding for table in tables for findings in codec.findings(table) for finding in findings]
    assert {vector.space for finding in by_row for vector in finding.detection.vectors} == {"image", "text", "faces"}
    assert sum(finding.propagated for finding in by_row) == 2


def test_the_catalogue_shows_former_results(former):
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(former)) == 6
    first = catalog.asset(asset_id(FIRST))
    assert {(d["detector"], d["label"]) for d in first["detections"] if d["detector"] == "nsfw"} == {
        ("nsfw", "suggestive")
    }
    assert catalog.asset(asset_id(FILM))["segments"] == {"done": 2, "of": 2}
    assert catalog.job(JOB) == {"done": 5, "failed": 1}
    assert catalog.text_search("invoice")[0]["asset"] == asset_id(FIRST)


def test_a_new_attempt_is_newer_than_former_rows(former):
    commit(former, "new.parquet", row(FIRST, found("nsfw", "nude", 0.5, "m3"), etag="etag-1", minutes=-10_000))
    catalog = Catalog(":memory:")
    catalog.load_all(str(former))
    nsfw = [d for d in catalog.asset(asset_id(FIRST))["detections"] if d["detector"] == "nsfw"]
    assert [(d["model"], d["label"]) for d in nsfw] == [("m3", "nude")]
    assert stored(str(former)).known([(FIRST, "etag-1")])[0].model_versions >= {ModelVersion("nsfw", "m3")}
    assert answers.stored(str(former), [FIRST])[FIRST].models["nsfw"] == "m3"


def test_former_results_are_exported(former):
    to = io.BytesIO()
    assert export(str(former), ExportQuery(), to) == 4
    lines = {line["uri"]: line for line in map(json.loads, to.getvalue().splitlines())}
    assert [d["model"] for d in lines[FIRST]["detections"] if d["detector"] == "nsfw"] == ["m2"]
    assert lines[GONE]["errors"] == [{"step": "fetch", "reason": "the file is gone"}]


def test_former_vectors_belong_to_the_current_spaces(former):
    entries: dict[str, int] = {}
    for rows in newest_rows(str(former), embeddings.COLUMNS):
        for name, new in embeddings.embeddings(rows, newest_answers(rows, newest_contents(rows))).items():
            entries[name] = entries.get(name, 0) + len(new.ids)
    assert entries == {"image-8": 4, "text-6": 1, "faces-4": 1}


def test_a_scan_knows_what_former_results_hold(former):
    seen = stored(str(former))
    first, gone, film = seen.known([(FIRST, "etag-1"), (GONE, "etag-3"), (FILM, "etag-film")])
    of_all = {ModelVersion(name, "m1") for name in ("clip", "face", "ocr")}
    assert first == Known(frozenset(of_all | {ModelVersion("nsfw", "m2", 0.25)}))
    assert gone.failed and film.complete and film.segments == 2
    assert costs.history(str(former))["whisper", "video"].cost.seconds == 3.0


def test_a_former_job_is_verified_against_its_ledger(former):
    ledger = f"{job_folder.place(former.as_uri(), JOB)}/ledger"
    assert reconcile(ledger, former.as_uri(), JOB) == Reconciliation(units=5, done=5, failed=1, lost=0, double=0)


def test_an_evaluation_reads_former_answers(former):
    told = answers.stored(str(former), [FIRST, FILM])
    assert told[FIRST].models == {"clip": "m1", "face": "m1", "nsfw": "m2", "ocr": "m1"}
    assert [d["time_s"] for d in told[FILM].detections["nsfw"]] == [1.0, 2.0, 61.0, 62.0]


def test_a_former_catalogue_is_rebuilt(former, tmp_path):
    import duckdb

    path = tmp_path / "catalog.duckdb"
    path.write_bytes(gzip.decompress((former / "state" / "catalog.duckdb.gz").read_bytes()))
    with duckdb.connect(str(path)) as database:  # its files lie where this test's copy is
        database.execute("update loaded set file = ? || regexp_extract(file, '/[^/]*$')", [former.as_uri()])
    catalog = Catalog(path)
    deadline = time.monotonic() + 30
    while catalog.job(JOB)["done"] < 5 or catalog._database.unfinished():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert catalog.load_all(str(former)) == 0
    assert catalog.assets(AssetQuery())["total"] == 4
    catalog.close()
    again = Catalog(path)  # it is of this version's layout now, and kept
    assert again.load_all(str(former)) == 0 and again.assets(AssetQuery())["total"] == 4
    again.close()


def test_the_former_list_of_jobs_and_its_report_are_read(former):
    store = JobStore(former / "state" / "jobs.sqlite")
    job = store.get(JOB)
    store.close()
    assert (job.state, job.units, job.skipped, job.waits_for) == ("blocked", 5, 2, ("ocr",))
    report = job_folder.read(former.as_uri(), JOB, "report")
    assert (report["done"], report["frames_carried"], report["cost"]) == (5, 40, 0.0058)


def test_former_settings_are_read(former, monkeypatch):
    monkeypatch.chdir(former)
    read = settings.load()
    assert (read.api.port, read.decoding.decoder_timeout_s) == (8100, 45)
    assert (read.scanning.detector_timeout_s, read.scanning.max_jobs) == (600, 4)
