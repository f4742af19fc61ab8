"""The ledger as a Ray Data source: one read task for each block of units, whose rows are committed together.

Ray Data's own Parquet reader joins small files into one block and needs a repartition, whose tasks start workers of
their own. A source with one read task a block is fused with the analysis and the write into one task.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from cluster.results import files as results_files
from cluster.storage import buckets

RECORDING = 8  # the work of a sound or of a segment of a video, where an image is 1
FIRST_WORK = 4  # of the first blocks; doubled after every GROWS_AFTER blocks
GROWS_AFTER = 2


@dataclass(frozen=True, slots=True)
class Block:
    """Rows `begin` to `end` (exclusive) of one file of a ledger."""

    file: str
    begin: int
    end: int


class LedgerSource(Datasource):
    """The rows of a folder of Parquet files of LEDGER or UNCUT, in blocks of about `work` units of work.

    An image costs 1 unit of work for each detector that it is to be sent to, a sound or a segment of a video RECORDING
    times as much. The first blocks are smaller and grow to `work`, so that a job shows results early.
    """

    def __init__(self, folder: str, work: int, s3_endpoint: str | None) -> None:
        super().__init__()
        self._s3_endpoint = s3_endpoint
        files = results_files.committed(folder, s3_endpoint)
        tables = ((file, _read(file, s3_endpoint, columns=["kind", "detectors"])) for file in files)
        self.blocks = list(_blocks(((file, _work(table)) for file, table in tables), work))

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: Ray Data would split or join blocks by it."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, *_: Any, **__: Any
    ) -> list[ReadTask]:
        """One task for each block, whatever parallelism Ray Data suggests."""
        return [
            ReadTask(
                partial(_rows, block, self._s3_endpoint),
                BlockMetadata(num_rows=block.end - block.begin, size_bytes=None, input_files=None, exec_stats=None),
                per_task_row_limit=per_task_row_limit,
            )
            for block in self.blocks
        ]


def _rows(block: Block, s3_endpoint: str | None) -> list[pa.Table]:
    return [_read(block.file, s3_endpoint).slice(block.begin, block.end - block.begin)]


def _read(file: str, s3_endpoint: str | None, columns: list[str] | None = None) -> pa.Table:
    files, path = buckets.filesystem(file, s3_endpoint)
    return pq.read_table(path, filesystem=files, columns=columns, use_threads=False)


def _work(rows: pa.Table) -> list[int]:
    """The work of each row."""
    detectors = pc.list_value_length(rows["detectors"])
    factor = pc.if_else(pc.fill_null(pc.equal(rows["kind"], "image"), False), 1, RECORDING)
    return [max(1, work) for work in pc.multiply(detectors, factor).to_pylist()]


def _blocks(files: Iterator[tuple[str, list[int]]], work: int) -> Iterator[Block]:
    """Blocks of consecutive rows of one file, each closed by the row that fills it."""
    number = 0
    for file, works in files:
        begin = taken = 0
        for row, one in enumerate(works):
            taken += one
            if taken >= min(work, FIRST_WORK << min(number // GROWS_AFTER, 32)):
                yield Block(file, begin, row + 1)
                begin, taken, number = row + 1, 0, number + 1
        if begin < len(works):
            yield Block(file, begin, len(works))
