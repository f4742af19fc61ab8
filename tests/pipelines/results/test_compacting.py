"""A compacted folder: every reader sees the newest answers as before, also after a crash at any step."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.api_queries import AssetQuery
from cluster.errors import SettingsError
from cluster.results import compaction, layout
from cluster.results import files as results_files
from cluster.results.newest import newest_rows
from cluster.settings import Prices
from deployments.catalog.catalog import Catalog
from pipelines.ledger.retrying import _failed as failed_before
from pipelines.ledger.stored import stored
from pipelines.people import purge
from pipelines.results import compacting
from pipelines.results.compacting import Compacted, compact
from pipelines.results.reconcile import reconcile, renew, settle
from pipelines.results.reporting import report
from tests.support.paths import ROOT
from tests.support.stored import commit, found, row

JOBS = ("old", "later", "latest")
COLUMNS = ["sequence", "job", "unit_id", "uri", "segment", "model_versions", "detections", "thumbnail", "errors"]


def free(job: str) -> bool:
    return False


def filled(folder: Path, files: int = 30, jobs: tuple[str, ...] = JOBS) -> str:
    """Store jobs over the same files and films, the first in flat files, others in folders; returns the folder's URI.

    Contents, cuts, detectors and failures vary, so that some rows count wholly, some in part and some not at all.
    """
    draw = random.Random(7)
    for minutes, job in enumerate(jobs):
        rows = []
        for n in range(files):
            uri, etag = f"s3://b/{n:02}", f"e{draw.choice((1, 1, 1, minutes))}"
            some = [name for name in ("nsfw", "ocr", "face") if draw.random() < 0.6]
            failures = [("decode", f"it is torn at {n}")] if draw.random() < 0.2 else []
            cuts = [(k, 2, 60.0 if draw.random() < 0.9 else 30.0) for k in (0, 1)] if n % 5 == 0 else [None]
            for cut in cuts:
                facts = {"etag": etag, "answered": some, "failures": failures, "thumbnail": bytes([n])}
                facts |= {"segment": cut} if cut else {}
                rows.append(row(uri, found("logo", f"{job}", 0.5), job=job, unit=len(rows), minutes=minutes, **facts))
        place = folder if job == "old" else folder / f"job={job}"
        for at in range(0, len(rows), 9):
            commit(place, f"{job}-{at}.parquet", *rows[at : at + 9])
        ledger = folder / "_raysift" / "jobs" / job / "ledger"
        ledger.mkdir(parents=True)
        pq.write_table(pa.table({"unit_id": [r["unit_id"] for r in rows]}), ledger / "0.parquet")
    return folder.as_uri()


def answers(out: str) -> list[tuple[object, ...]]:
    """All answers that count, by every reader's rule, with what their rows say."""
    rows = [one for table in newest_rows(out, COLUMNS) for one in table.to_pylist()]
    return sorted(
        (one["uri"], one["segment"] or 0, version["detector"], one["sequence"], one["job"], one["unit_id"], repr(one))
        for one in rows
        for version in one["model_versions"]
    )


def known(out: str) -> list[object]:
    of_all = stored(out)
    return [[of_all.known([(f"s3://b/{n:02}", etag)]), of_all.segments(f"s3://b/{n:02}")]
            for n in range(30) for etag in ("e0", "e1", "e2")]  # fmt: skip


def browsed(catalog: Catalog) -> list[object]:
    lines, _ = catalog.some_lines(0, AssetQuery())
    items = catalog.assets(AssetQuery(size=100))["items"]
    shown = [catalog.thumbnail(item["id"]) for item in items[:2]]
    return [sorted(lines, key=repr), sorted(items, key=repr), shown]


def of_jobs(out: str) -> list[object]:
    return [
        (reconcile(f"{out}/_raysift/jobs/{job}/ledger", out, job), failed_before(out, job, None),
         report(out, job, 36, 0, 1.0, Prices()))
        for job in JOBS
    ]  # fmt: skip


def keys(out: str) -> Counter[tuple[object, ...]]:
    rows = [one for table in results_files.scan(out, ["sequence", "job", "unit_id"]) for one in table.to_pylist()]
    return Counter((one["sequence"], one["job"], one["unit_id"]) for one in rows)


def test_every_reader_finds_the_same_in_a_compacted_folder(tmp_path):
    out = filled(tmp_path, files=12)
    catalog = Catalog(":memory:")
    catalog.load_all(out)
    before = answers(out), known(out), browsed(catalog), of_jobs(out)
    files, rows = len(results_files.committed(out)), sum(keys(out).values())
    done = compact(out, free)
    assert (done.replaced, done.written, done.rows) == (files, 1, rows) and 0 < done.dropped < rows
    (file,) = results_files.committed(out)
    assert pq.read_metadata(tmp_path / "current" / file.rpartition("/")[2]).num_rows == rows - done.dropped
    again = Catalog(":memory:")
    assert again.load_all(out) == rows - done.dropped
    assert (answers(out), known(out), browsed(again), of_jobs(out)) == before
    assert compact(out, free) == Compacted(), "there is nothing left to do"


def test_later_jobs_are_joined_to_what_is_compacted_and_supersede_it(tmp_path):
    out = filled(tmp_path, files=6)
    compact(out, free)
    for night in range(8):
        rows = [row(f"s3://b/{n:02}", found("nsfw", f"night {night}", 0.9), job=f"n{night}", unit=n, minutes=9 + night)
                for n in range(night, night + 3)]  # fmt: skip
        commit(tmp_path / f"job=n{night}", "0.parquet", *rows)
        before = answers(out)
        compact(out, free)
        assert answers(out) == before
    assert len(results_files.committed(out)) < 8, "small files are joined, worn ones written again"


def test_a_loaded_catalogue_reads_no_compacted_file_and_counts_nothing_twice(tmp_path):
    out = filled(tmp_path, files=6)
    catalog = Catalog(":memory:")
    catalog.load_all(out)
    before = browsed(catalog), [catalog.summary(job) for job in JOBS], catalog.jobs()
    compact(out, free)
    assert catalog.load_all(out) == 0 and catalog.load_all(out) == 0
    (file,) = results_files.committed(out)
    partly = Catalog(":memory:")
    partly.load(f"{out}/old-0.parquet")
    partly.load_all(out)
    # rows that are there already come again
    commit(tmp_path / "job=copy", "0.parquet", *results_files.read(file, layout.SCHEMA.names).to_pylist())
    catalog.load_all(out)
    assert (browsed(catalog), [catalog.summary(job) for job in JOBS], catalog.jobs()) == before
    assert browsed(partly) == before[0]


def seen(out):
    return answers(out), [reconcile(f"{out}/_raysift/jobs/{job}/ledger", out, job) for job in JOBS[:2]]


class Crash(BaseException):
    pass


class Crashes:
    """Makes the n-th of the steps that change a folder raise Crash before it does anything."""

    def __init__(self, monkeypatch, at: int) -> None:
        self.left = at
        for owner, name in ((compaction, "_write_manifest"), (compaction.pq, "write_table"), (compaction, "_delete")):
            monkeypatch.setattr(owner, name, self.crashing(getattr(owner, name)))

    def crashing(self, step):
        def run(*arguments, **named):
            self.left -= 1
            if self.left == 0:
                raise Crash
            return step(*arguments, **named)

        return run


def test_a_crash_at_any_step_loses_and_doubles_no_row(tmp_path, monkeypatch):
    out = filled(tmp_path / "0", files=6, jobs=JOBS[:2])
    before, rows = seen(out), keys(out)
    monkeypatch.setattr("os.fsync", lambda file: None)  # the power does not fail here
    monkeypatch.setattr(compaction, "FILE_ROWS", 5)
    monkeypatch.setattr(compacting, "ROUND_ROWS", 8)
    at, crashed = 0, True
    while crashed:
        at += 1
        out = Path(shutil.copytree(tmp_path / "0", tmp_path / str(at))).as_uri()
        with monkeypatch.context() as patch:
            steps = Crashes(patch, at)
            try:
                compact(out, free)
                compaction.clean(out, grace_s=0.0)
                crashed = False
            except Crash:
                pass
        assert seen(out) == before, f"step {at}"
        assert all(count == rows[key] == 1 for key, count in keys(out).items()), f"step {at}"
        compact(out, free)
        compaction.clean(out, grace_s=0.0)
        assert seen(out) == before and not list(tmp_path.glob(f"{at}/**/.*"))
        assert {file.rpartition("/")[0] for file in results_files.committed(out)} == {f"{out}/current"}
        recorded = list(tmp_path.glob(f"{at}/_raysift/jobs/*/compacted/*"))
        assert {layout.run_of(path.as_posix()) for path in recorded} <= set(layout.read_manifest(out).runs)
    assert at > 12 and steps.left > 0


def test_what_an_interrupted_run_and_earlier_ones_have_left_is_deleted_in_time(tmp_path, monkeypatch):
    out = filled(tmp_path)
    run = compaction.Run(out)
    run.keep(results_files.read(results_files.committed(out)[0], layout.SCHEMA.names))
    run.record("later", pa.Table.from_pylist([], layout.SCHEMA))
    run._write_rows()
    run._write_records()  # and it is killed
    done = compact(out, free)
    assert done.deleted == 0 and list(tmp_path.glob(f"current/{run.name}*")), "another head may still be at work"
    there = {*tmp_path.glob("*.parquet"), *tmp_path.glob("job=*/*.parquet")}
    assert len(there) == done.replaced, "whoever has listed the folder may still read what was replaced"
    assert compaction.clean(out, grace_s=0.0, busy=free) == done.replaced + 2
    assert not any(path.exists() for path in there) and not list(tmp_path.glob("job=*"))
    assert not list(tmp_path.glob(f"**/*{run.name}*"))
    assert layout.read_manifest(out).replaced == {} and len(results_files.committed(out)) == 1


def test_files_of_a_job_that_is_not_over_are_left_alone(tmp_path):
    out = filled(tmp_path)
    before = answers(out), of_jobs(out)
    done = compact(out, {"later", "old"}.__contains__)
    assert done.busy == 8 and len(list(tmp_path.glob("job=latest/*"))) == done.replaced
    hidden = layout.read_manifest(out).hidden
    assert {name.partition("/")[0] for name in hidden} == {"job=latest"}
    assert (answers(out), of_jobs(out)) == before


def test_superseded_answers_about_a_held_file_stay(tmp_path):
    out = filled(tmp_path)
    rows = keys(out)
    compact(out, free, held=lambda uri, parent: uri < "s3://b/15")
    left = [one for table in results_files.scan(out, ["uri"]) for one in table["uri"].to_pylist()]
    assert sum(uri < "s3://b/15" for uri in left) == 54 and len(left) < sum(rows.values())


def test_a_file_that_is_changed_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    out = filled(tmp_path)
    write = compaction.pq.write_table

    def settled(*arguments, **named):
        write(*arguments, **named)
        shutil.copy(tmp_path / "job=later" / "later-9.parquet", tmp_path / "job=later" / "later-0.parquet")

    with monkeypatch.context() as patch:
        patch.setattr(compaction.pq, "write_table", settled)
        with pytest.raises(SettingsError, match="was changed while it was compacted"):
            compact(out, free)
    assert not layout.read_manifest(out).runs and len(results_files.committed(out)) == 12


def test_a_job_that_goes_on_after_it_was_compacted_is_settled(tmp_path):
    out = filled(tmp_path)
    ledger = f"{out}/_raysift/jobs/later/ledger"
    compact(out, free)
    # a writer of the attempt before commits after all; the job goes on with a newer one
    commit(tmp_path / "job=later", "zombie.parquet", row("s3://b/01", job="later", unit=2, minutes=0))
    commit(tmp_path / "job=later", "new.parquet", row("s3://b/02", job="later", unit=3, minutes=7))
    renew(f"{out}/checkpoint", out, "later")
    done = pa.concat_tables([pq.read_table(file) for file in (tmp_path / "checkpoint").glob("*")])
    assert sorted(done["unit_id"].to_pylist()) == list(range(36))
    assert reconcile(ledger, out, "later").double == 2
    assert settle(out, "later") == 2
    counted = reconcile(ledger, out, "later")
    assert (counted.lost, counted.double, counted.done) == (0, 0, 36)
    assert [answer[2:] for answer in answers(out) if answer[0] == "s3://b/02"][-1][1] > 0
    assert not pq.ParquetFile(tmp_path / "job=later" / "zombie.parquet").metadata.num_rows


def test_results_of_version_0_1_can_be_compacted(tmp_path):
    former = Path(shutil.copytree(ROOT / "tests" / "data" / "results-0.1", tmp_path / "results"))
    out = former.as_uri()
    before, rows = answers(out), keys(out)
    compact(out, free, held=lambda uri, parent: True)
    assert (answers(out), keys(out)) == (before, rows) and len(results_files.committed(out)) == 1


def test_a_purged_person_is_in_no_file_that_a_compaction_has_replaced(tmp_path):
    out = tmp_path.as_uri()
    rows = [row(f"s3://b/{n}", found("face", "Ann", 0.9), job="a", unit=n) for n in range(3)]
    commit(tmp_path / "job=a", "0.parquet", *rows)
    commit(tmp_path / "job=b", "0.parquet", row("s3://b/0", answered=["face"], job="b", minutes=1))
    compact(out, free)
    done = purge.remove("Ann", out, set())
    assert (done.hits, done.files) == (2, 1), "of the first file another answer counts"
    tables = [pq.ParquetFile(file).read() for file in tmp_path.rglob("*.parquet")]
    assert "Ann" not in repr([table.to_pylist() for table in tables]) and len(tables) == 1


def test_files_that_the_manifest_cannot_name_yet_wait_for_a_later_run(tmp_path, monkeypatch):
    out = filled(tmp_path)
    before = answers(out)
    monkeypatch.setattr(compacting, "MOST_HIDDEN", 7)
    monkeypatch.setattr(compacting, "ROUND_FILES", 3)
    done = compact(out, free)
    assert (done.replaced, done.later) == (7, 5) and answers(out) == before
    assert (compact(out, free).replaced, answers(out)) == (0, before), "what was replaced is not deleted yet"
    compaction.clean(out, grace_s=0.0)
    assert (compact(out, free).later, answers(out)) == (0, before)
