import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import SettingsError
from cluster.records import ModelVersion
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.merge import Known
from pipelines.ledger.stored import CHANGED, Stored, stored
from pipelines.results.reconcile import Reconciliation, reconcile, renew, settle
from tests.support.stored import aged, commit, found, row

BOTH = frozenset({ModelVersion("nsfw", "m1"), ModelVersion("ocr", "m1")})


def ledger(folder, *unit_ids):
    folder.mkdir(parents=True)
    for at, unit_id in enumerate(unit_ids):
        pq.write_table(pa.table({"unit_id": pa.array([unit_id], pa.int64())}), folder / f"{at}.parquet")
    return str(folder)


def known(seen: Stored, uri: str, etag: str = "e1") -> Known | None:
    return seen.known([(uri, etag)])[0]


def names(known: Known | None) -> set[tuple[str, str]]:
    assert known is not None
    return {(one.detector, one.model) for one in known.model_versions}


def test_knows_which_detectors_have_answered_for_which_content(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.5), answered=("ocr",)), row("s3://b/c"))
    seen = stored(str(tmp_path))
    files = [("s3://b/a", "e1"), ("s3://b/a", "e2"), ("s3://b/b", "e1"), ("s3://b/c", "e1")]
    assert seen.known(files) == [Known(BOTH), CHANGED, None, Known()]
    assert len(seen) == 2


def test_a_floor_is_stored_and_a_missing_floor_is_none(tmp_path):
    one = row("s3://b/a")
    one["model_versions"] = [
        {"detector": "ocr", "model": "m1", "floor": 0.1},
        {"detector": "clip", "model": "", "floor": None},
    ]
    commit(tmp_path, "a.parquet", one)
    answers = {answer.detector: answer for answer in known(stored(str(tmp_path)), "s3://b/a").model_versions}
    assert answers["clip"] == ModelVersion("clip", "", None)
    assert answers["ocr"].covers(ModelVersion("ocr", "m1", 0.1)) and not answers["ocr"].covers(
        ModelVersion("ocr", "m1", 0.09)
    )


def test_answers_of_several_scans_are_merged_and_the_newest_counts(tmp_path):
    commit(tmp_path, "a.parquet", *(row(f"s3://b/{n}", answered=("nsfw",)) for n in range(100)))
    commit(tmp_path, "c.parquet", *(row(f"s3://b/{n}", answered=("ocr",), minutes=1) for n in range(50)))
    commit(tmp_path, "b.parquet", *(row(f"s3://b/{n}", found("nsfw", "x", 1, "m2"), minutes=2) for n in range(25)))
    seen = stored(str(tmp_path))
    assert len(seen) == 100
    told = [names(known(seen, f"s3://b/{n}")) for n in range(100)]
    assert told[:25] == [{("nsfw", "m2"), ("ocr", "m1")}] * 25
    assert told[25:50] == [{("nsfw", "m1"), ("ocr", "m1")}] * 25
    assert told[50:] == [{("nsfw", "m1")}] * 50


def test_a_file_that_returned_to_a_former_content_has_changed(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", etag="e1", answered=["ocr"], minutes=5))
    commit(tmp_path, "b.parquet", row("s3://b/a", etag="e0", answered=["ocr"]))
    seen = stored(str(tmp_path))
    assert known(seen, "s3://b/a", "e0") is CHANGED
    assert names(known(seen, "s3://b/a", "e1")) == {("ocr", "m1")}


def test_a_file_that_failed_is_known_to_have_failed_until_a_newer_row_has_no_error(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", failures=[("fetch", "the network")]))
    assert known(stored(str(tmp_path)), "s3://b/a") == Known(failed=True)
    commit(tmp_path, "b.parquet", row("s3://b/a", answered=["ocr"], minutes=1))
    assert not known(stored(str(tmp_path)), "s3://b/a").failed


def test_a_folder_without_results_has_nothing_stored(tmp_path):
    assert known(stored(str(tmp_path / "not there")), "s3://b/a") is None


def test_rows_without_segments_and_floors_count(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a", answered=("ocr", "nsfw")))
    aged(tmp_path, "a.parquet")
    assert known(stored(str(tmp_path)), "s3://b/a") == Known(BOTH)


def segment(n, of=3, length_s=60.0, **more):
    return row("s3://b/film", segment=(n, of, length_s), **{"answered": ["ocr", "nsfw"], **more})


def test_a_detector_has_answered_for_a_film_when_it_has_for_every_segment(tmp_path):
    commit(tmp_path, "a.parquet", segment(2), segment(0))
    part = stored(str(tmp_path))
    assert known(part, "s3://b/film") == Known(frozenset(), False, 60.0, 3, complete=False)
    assert {n: one.model_versions for n, one in part.segments("s3://b/film").items()} == {0: BOTH, 2: BOTH}
    assert part.segments("s3://b/other") == {}
    commit(tmp_path, "b.parquet", segment(1, answered=["ocr"]))
    assert names(known(stored(str(tmp_path)), "s3://b/film")) == {("ocr", "m1")}
    assert not known(stored(str(tmp_path)), "s3://b/film").complete
    commit(tmp_path, "c.parquet", segment(1, answered=["nsfw"], minutes=1))
    assert known(stored(str(tmp_path)), "s3://b/film") == Known(BOTH, False, 60.0, 3)


def test_only_the_newest_cut_of_a_film_counts(tmp_path):
    commit(
        tmp_path, "a.parquet", row("s3://b/film", answered=["ocr", "nsfw"]), *(segment(n, minutes=1) for n in range(3))
    )
    commit(tmp_path, "b.parquet", segment(0, of=6, length_s=30.0, minutes=2))
    seen = stored(str(tmp_path))
    assert known(seen, "s3://b/film") == Known(frozenset(), False, 30.0, 6, complete=False)
    assert list(seen.segments("s3://b/film")) == [0]


def test_a_film_has_the_highest_floor_of_its_segments(tmp_path):
    rows = [segment(n) for n in range(3)]
    for one, floor in zip(rows, (0.1, 0.3, None), strict=True):
        one["model_versions"] = [{"detector": "ocr", "model": "m1", "floor": floor}]
    commit(tmp_path, "a.parquet", *rows)
    (answer,) = known(stored(str(tmp_path)), "s3://b/film").model_versions
    assert answer.floor == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_rows_were_committed_does_not_matter(tmp_path, seed):
    rows = [row(f"s3://b/{n}", answered=["ocr"], etag=f"e{n % 2}") for n in range(20)]
    rows += [row(f"s3://b/{n}", answered=["nsfw"], minutes=1) for n in range(0, 20, 3)]
    rows += [segment(n) for n in range(3)] + [segment(n, minutes=3, answered=["clip"]) for n in range(3)]
    rows += [segment(0, of=1, length_s=600.0, minutes=2)]
    commit(tmp_path / "in order", "a.parquet", *rows)
    random.Random(seed).shuffle(rows)
    for n in range(0, len(rows), 7):
        commit(tmp_path / "shuffled", f"{n}.parquet", *rows[n : n + 7])
    files = [(f"s3://b/{n}", f"e{etag}") for n in range(20) for etag in range(2)] + [("s3://b/film", "e1")]
    seen, shuffled = stored(str(tmp_path / "in order")), stored(str(tmp_path / "shuffled"))
    assert seen.known(files) == shuffled.known(files)
    assert seen.segments("s3://b/film") == shuffled.segments("s3://b/film")


def test_reconciles_a_ledger_with_its_results(tmp_path):
    out = tmp_path / "out"
    commit(out, "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2, failures=[("fetch", "gone")]))
    commit(out, "b.parquet", row("s3://b/1", unit=1), row("s3://b/4", unit=4, job="another"))
    owed = ledger(out / "_raysift" / "jobs" / "job" / "ledger", 1, 2, 3, 4)
    assert reconcile(owed, str(out), "job") == Reconciliation(units=4, done=2, failed=1, lost=2, double=1)


def test_all_units_of_a_job_without_rows_are_lost(tmp_path):
    owed = ledger(tmp_path / "ledger", 1, 2)
    assert reconcile(owed, str(tmp_path / "out"), "job") == Reconciliation(2, 0, 0, 2, 0)


def test_a_job_without_a_ledger_is_a_settings_error(tmp_path):
    with pytest.raises(SettingsError, match="no ledger at"):
        reconcile(str(tmp_path / "ledger"), str(tmp_path), "job")


def test_of_a_unit_stored_twice_the_newest_row_stays(tmp_path):
    out = tmp_path / "out"
    commit(
        out, "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2), row("s3://b/3", unit=3, answered=["ocr"])
    )
    commit(out, "b.parquet", row("s3://b/1", unit=1, minutes=1, answered=["nsfw"]))
    commit(out, "c.parquet", row("s3://b/2", unit=2, job="another"), row("s3://b/2", unit=2, minutes=1, clock_ahead=-9))
    owed = ledger(out / "_raysift" / "jobs" / "job" / "ledger", 1, 2, 3)
    assert reconcile(owed, str(out), "job").double == 2
    newest = stored(str(out)).known([("s3://b/1", "e1")])
    assert settle(str(out), "job") == 2
    assert reconcile(owed, str(out), "job") == Reconciliation(units=3, done=3, failed=0, lost=0, double=0)
    assert stored(str(out)).known([("s3://b/1", "e1")]) == newest
    left = pq.read_table(out / "a.parquet")
    assert left.schema.equals(SCHEMA) and left["unit_id"].to_pylist() == [3]
    assert left["model_versions"].to_pylist() == [[{"detector": "ocr", "model": "m1", "floor": None}]]
    assert [stored_row["job"] for stored_row in pq.read_table(out / "c.parquet").to_pylist()] == ["another", "job"]
    assert settle(str(out), "job") == 0


def test_without_double_rows_no_file_is_rewritten(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2))
    before = (tmp_path / "a.parquet").stat()
    assert settle(str(tmp_path), "job") == 0
    after = (tmp_path / "a.parquet").stat()  # its access time may change: the file is read
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert len(results_files.committed(str(tmp_path))) == 1


def test_names_the_file_that_is_no_parquet(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(SettingsError, match=r"b\.parquet"):
        stored(str(tmp_path))


def test_a_checkpoint_holds_exactly_the_units_that_have_rows(tmp_path):
    out, checkpoint = tmp_path / "out", tmp_path / "out" / "_raysift" / "checkpoint"
    commit(out, "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2), row("s3://b/3", unit=3, job="another"))
    checkpoint.mkdir(parents=True)
    pq.write_table(pa.table({"unit_id": pa.array([1, 9], pa.int64())}), checkpoint / "x.pending.parquet")
    renew(str(checkpoint), str(out), "job")
    assert pq.read_table(checkpoint)["unit_id"].to_pylist() == [1, 2]
    (out / "a.parquet").unlink()
    renew(str(checkpoint), str(out), "job")
    assert not checkpoint.exists()
