import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored import commit, found, row

from cluster.errors import SettingsError
from cluster.records import Analyzer, MediaItem
from pipelines.storing import Reconciliation, reconcile, stored


def item(uri, etag="e1"):
    return MediaItem(uri, 10, etag)


def ledger(folder, *unit_ids):
    folder.mkdir(parents=True)
    for at, unit_id in enumerate(unit_ids):
        pq.write_table(pa.table({"unit_id": pa.array([unit_id], pa.int64())}), folder / f"{at}.parquet")
    return str(folder)


def test_knows_who_has_answered_for_which_content(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.5), answered=("ocr",)), row("s3://b/c"))
    answers = stored(str(tmp_path))
    assert answers.answered(item("s3://b/a")) == {Analyzer("nsfw", "m1"), Analyzer("ocr", "m1")}
    assert answers.answered(item("s3://b/a", "e2")) == frozenset()
    assert answers.answered(item("s3://b/b")) == frozenset()
    assert answers.answered(item("s3://b/c")) == frozenset()
    assert len(answers) == 2


def test_adds_up_what_several_scans_answered(tmp_path):
    commit(tmp_path, "a.parquet", *(row(f"s3://b/{n}", answered=("nsfw",)) for n in range(100)))
    commit(tmp_path, "b.parquet", *(row(f"s3://b/{n}", answered=("ocr",)) for n in range(50)))
    commit(tmp_path, "c.parquet", *(row(f"s3://b/{n}", found("nsfw", "x", 1, model="m2")) for n in range(25)))
    answers = stored(str(tmp_path))
    assert len(answers) == 100
    names = [{(a.detector, a.model) for a in answers.answered(item(f"s3://b/{n}"))} for n in range(100)]
    assert names[:25] == [{("nsfw", "m1"), ("ocr", "m1"), ("nsfw", "m2")}] * 25
    assert names[25:50] == [{("nsfw", "m1"), ("ocr", "m1")}] * 25
    assert names[50:] == [{("nsfw", "m1")}] * 50


def test_a_file_that_failed_is_asked_for_again(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", failures=[("fetch", "the network")]))
    assert stored(str(tmp_path)).answered(item("s3://b/a")) == frozenset()


def test_where_nothing_is_stored_nothing_has_answered(tmp_path):
    assert stored(str(tmp_path / "not there")).answered(item("s3://b/a")) == frozenset()


def test_reconciles_a_ledger_with_its_results(tmp_path):
    out = tmp_path / "out"
    commit(out, "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2, failures=[("fetch", "gone")]))
    commit(out, "b.parquet", row("s3://b/1", unit=1), row("s3://b/4", unit=4, job="another"))
    owed = ledger(out / "_raysift" / "jobs" / "job" / "ledger", 1, 2, 3, 4)
    assert reconcile(owed, str(out), "job") == Reconciliation(units=4, done=2, failed=1, lost=2, double=1)


def test_a_job_that_stored_nothing_has_lost_all(tmp_path):
    owed = ledger(tmp_path / "ledger", 1, 2)
    assert reconcile(owed, str(tmp_path / "out"), "job") == Reconciliation(2, 0, 0, 2, 0)


def test_a_job_without_a_ledger_is_the_operators_fault(tmp_path):
    with pytest.raises(SettingsError, match="no ledger at"):
        reconcile(str(tmp_path / "ledger"), str(tmp_path), "job")


def test_names_the_file_that_is_no_parquet(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(SettingsError, match=r"b\.parquet"):
        stored(str(tmp_path))
