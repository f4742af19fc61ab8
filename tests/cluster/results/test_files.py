"""A folder of results while a job writes into it: a reader sees only complete files."""

import pyarrow.parquet as pq
import pytest

from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from tests.support.stored import aged, commit, found, row


def test_lists_committed_files_and_no_bookkeeping(tmp_path):
    file = commit(tmp_path / "out put", "a b.parquet", row("s3://b/a"))
    commit(tmp_path / "out put" / "_raysift", "c.parquet", row("s3://b/c"))
    commit(tmp_path / "out put" / "deeper", "d.parquet", row("s3://b/d"))
    commit(tmp_path / "out put", "_e.parquet", row("s3://b/e"))
    commit(tmp_path / "out put", ".f.parquet", row("s3://b/f"))
    assert results_files.committed(str(tmp_path / "out put")) == [file]
    assert results_files.committed((tmp_path / "out put").as_uri() + "/") == [file]
    assert results_files.committed(str(tmp_path / "not there")) == []


def test_a_file_gets_its_name_only_when_it_is_complete(tmp_path):
    files, place = results_files.sink(str(tmp_path))
    with files.open_output_stream(f"{place}/a.parquet") as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        writer.write_table(SCHEMA.empty_table())
        assert results_files.committed(str(tmp_path)) == []
    assert results_files.committed(str(tmp_path)) == [f"{tmp_path.as_uri()}/a.parquet"]
    assert results_files.read(f"{tmp_path.as_uri()}/a.parquet", ["uri"]).num_rows == 0


def test_a_file_that_a_full_disk_cut_short_is_not_a_result(tmp_path):
    files, place = results_files.sink(str(tmp_path))
    (tmp_path / ".a.parquet.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), files.open_output_stream(f"{place}/a.parquet") as stream:
        stream.write(b"x" * 100_000)
    assert not (tmp_path / "a.parquet").exists()


def test_a_file_that_is_older_than_segments_is_read_with_nulls(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/old", found("nsfw", "nude", 0.9)))
    aged(tmp_path, "1.parquet")
    commit(tmp_path, "2.parquet", row("s3://b/new", segment=(1, 2, 60.0)) | {"model_versions": [
        {"detector": "nsfw", "model": "m1", "floor": 0.5}]})  # fmt: skip
    files = results_files.committed(str(tmp_path))
    old, new = (results_files.read(file, SCHEMA.names) for file in files)
    assert old.schema.names == new.schema.names == SCHEMA.names
    (row_of_old,) = old.to_pylist()
    assert [row_of_old[name] for name in ("segment", "segments", "segment_s", "begin_s", "end_s", "usage")] == [
        None
    ] * 6
    assert row_of_old["model_versions"] == [{"detector": "nsfw", "model": "m1", "floor": None}]
    assert row_of_old["detections"][0]["label"] == "nude"
    scanned = [row for table in results_files.scan(str(tmp_path), SCHEMA.names) for row in table.to_pylist()]
    assert sorted(scanned, key=lambda row: row["uri"]) == [*new.to_pylist(), row_of_old]


def test_a_content_hash_depends_on_etag_and_segment_length():
    assert results_files.content("e1", None) == results_files.content("e1", None)
    hashes = [results_files.content(etag, cut) for etag in ("e1", "e2", None) for cut in (None, 30.0, 60.0)]
    assert len(set(hashes)) == 9 and all(-(2**63) <= number < 2**63 for number in hashes)
