"""The ledger in blocks: every row is in one block, and a block has about the work that was asked for."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ledger.blocks import FIRST_WORK, RECORDING, LedgerSource
from pipelines.ledger.listing import LEDGER


def ledger(folder, *files):
    """Write a ledger; each file is a list of (kind, number of detectors), one a row."""
    number = 0
    for n, rows in enumerate(files):
        table = pa.Table.from_pylist(
            [
                {"unit_id": number + i, "uri": "s3://b/a", "kind": kind, "detectors": [f"d{d}" for d in range(count)]}
                for i, (kind, count) in enumerate(rows)
            ],
            schema=LEDGER,
        )
        number += len(rows)
        pq.write_table(table, folder / f"{n:06}.parquet")
    return folder.as_uri()


def blocks(uri, work):
    """The unit ids of each block, as a task of Ray Data reads them."""
    return [
        [unit for table in task() for unit in table["unit_id"].to_pylist()]
        for task in LedgerSource(uri, work, None).get_read_tasks(1)
    ]


@pytest.mark.parametrize("work", [1, 7, 32, 1000])
def test_every_row_is_in_one_block_in_order(tmp_path, work):
    rows = [(kind, count) for kind in ("image", "video", None, "audio") for count in (1, 2, 7)] * 9
    uri = ledger(tmp_path, rows, rows[:5], rows[:1])
    assert [unit for block in blocks(uri, work) for unit in block] == list(range(len(rows) + 6))


def test_the_first_blocks_are_small_and_they_grow(tmp_path):
    sizes = [len(block) for block in blocks(ledger(tmp_path, [("image", 1)] * 300), 32)]
    assert sizes[0] == FIRST_WORK and max(sizes) == 32
    assert sizes[:-1] == sorted(sizes[:-1])


def test_many_detectors_make_small_blocks(tmp_path):
    assert {len(block) for block in blocks(ledger(tmp_path, [("image", 8)] * 40), 32)[8:]} == {4}


@pytest.mark.parametrize("kind", ["video", "audio", None])
def test_recordings_and_what_may_be_one_count_more(tmp_path, kind):
    assert {len(block) for block in blocks(ledger(tmp_path, [(kind, 1)] * 40), 4 * RECORDING)[8:]} == {4}


def test_a_row_is_never_too_large_for_a_block(tmp_path):
    assert blocks(ledger(tmp_path, [("video", 7)] * 3), 1) == [[0], [1], [2]]


def test_an_empty_ledger_has_no_block(tmp_path):
    assert blocks(ledger(tmp_path, []), 32) == []
