"""Which row is newer: the number of the attempt decides, not the clocks of workers."""

import random

import pyarrow as pa
import pytest

from cluster.errors import SettingsError
from cluster.results import attempts
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.newest import KEY, Ranks, key, newest_rows
from tests.support.stored import aged, commit, row

COLUMNS = ["uri", "job", "model_versions"]


def test_attempts_have_increasing_numbers_even_if_the_clock_goes_back(tmp_path):
    out = tmp_path.as_uri()
    times = iter((1000.0, 1000.0, 400.0, 2000.0))
    numbers = [attempts.begin(out, "job", clock=times.__next__) for _ in range(4)]
    assert numbers == [1_000_000_000, 1_000_001_000, 1_000_002_000, 2_000_000_000]
    assert results_files.committed(out) == [], "files of attempts are not results"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "_raysift").write_text("in the way")
    with pytest.raises(SettingsError, match=r"_raysift/attempts cannot be written"):
        attempts.begin(tmp_path.as_uri(), "job")


def test_the_later_attempt_counts_even_if_the_clock_of_the_first_was_an_hour_ahead(tmp_path):
    commit(tmp_path, "b.parquet", row("s3://b/a", answered=["ocr"], job="1", clock_ahead=60))
    commit(tmp_path, "a.parquet", row("s3://b/a", answered=["ocr"], job="2", minutes=1))
    assert [table["job"].to_pylist() for table in newest_rows(str(tmp_path), COLUMNS)] == [["2"]]


def test_rows_without_a_number_are_older_than_rows_with_one_and_ordered_by_time(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", answered=["ocr"], job="old", minutes=5))
    commit(tmp_path, "2.parquet", row("s3://b/a", answered=["ocr"], job="older"))
    for name in ("1.parquet", "2.parquet"):
        aged(tmp_path, name)
    assert [table["job"].to_pylist() for table in newest_rows(str(tmp_path), COLUMNS)] == [["old"]]
    commit(tmp_path, "3.parquet", row("s3://b/a", answered=["ocr"], job="new", minutes=-9000))
    assert [table["job"].to_pylist() for table in newest_rows(str(tmp_path), COLUMNS)] == [["new"]]


@pytest.mark.parametrize("seed", range(3))
def test_ranks_of_columns_are_in_the_order_of_the_keys_of_rows(seed):
    chance = random.Random(seed)
    rows = [
        row("s3://b/a", job=chance.choice(["b", "a", "ab"]), unit=chance.randrange(3), minutes=chance.randrange(3))
        for _ in range(60)
    ]
    rows = list({key(stored_row): stored_row for stored_row in rows}.values())
    chance.shuffle(rows)
    ranks = Ranks()
    for begin in range(0, len(rows), 7):
        ranks.add(pa.Table.from_pylist(rows[begin : begin + 7], SCHEMA).select(KEY))
    assert [rows[at] for at in ranks.ranks().argsort()] == sorted(rows, key=key)
