"""A folder of results while a job writes into it: a reader sees a file whole or not at all."""

import pyarrow.parquet as pq
import pytest
from stored import commit, row

from cluster import results
from cluster.records import SCHEMA


def test_lists_what_is_committed_and_no_bookkeeping(tmp_path):
    file = commit(tmp_path / "out put", "a b.parquet", row("s3://b/a"))
    commit(tmp_path / "out put" / "_raysift", "c.parquet", row("s3://b/c"))
    commit(tmp_path / "out put" / "deeper", "d.parquet", row("s3://b/d"))
    commit(tmp_path / "out put", "_e.parquet", row("s3://b/e"))
    commit(tmp_path / "out put", ".f.parquet", row("s3://b/f"))
    assert results.committed(str(tmp_path / "out put")) == [file]
    assert results.committed((tmp_path / "out put").as_uri() + "/") == [file]
    assert results.committed(str(tmp_path / "not there")) == []


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path):
    files, place = results.sink(str(tmp_path))
    with files.open_output_stream(f"{place}/a.parquet") as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        writer.write_table(SCHEMA.empty_table())
        assert results.committed(str(tmp_path)) == []
    assert results.committed(str(tmp_path)) == [f"{tmp_path.as_uri()}/a.parquet"]
    assert results.read(f"{tmp_path.as_uri()}/a.parquet", ["uri"]).num_rows == 0


def test_what_a_full_disk_cut_short_never_becomes_a_result(tmp_path):
    files, place = results.sink(str(tmp_path))
    (tmp_path / ".a.parquet.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), files.open_output_stream(f"{place}/a.parquet") as stream:
        stream.write(b"x" * 100_000)
    assert not (tmp_path / "a.parquet").exists()
