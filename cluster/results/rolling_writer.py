"""A writer of tables that do not fit into memory: it starts a new Parquet file every ROWS_A_FILE rows."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import SettingsError
from cluster.storage import buckets

ROWS_A_FILE = 100_000
ROWS_A_GROUP = 10_000  # rows of one row group: what the writer buffers and a reader loads at a time


class Shards:
    """Writes a folder of Parquet files, 000000.parquet, 000001.parquet and so on, within a `with` block.

    The last file is complete when the block ends without an exception. SettingsError if the folder cannot be written.
    """

    def __init__(self, folder: str, schema: pa.Schema, s3_endpoint: str | None) -> None:
        self._folder, self._schema = folder, schema
        self._files, self._place = buckets.filesystem(folder, s3_endpoint)
        self._buffered: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._shard = 0

    def __enter__(self) -> "Shards":
        with self._writing():
            self._files.create_dir(self._place, recursive=True)
        return self

    def add(self, rows: pa.Table) -> None:
        """Append rows of the writer's schema; they are written once ROWS_A_GROUP are buffered."""
        self._buffered.append(rows)
        if sum(len(table) for table in self._buffered) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._buffered)
        self._buffered.clear()
        with self._writing():
            while len(table):
                if self._writer is None:
                    name = f"{self._place}/{self._shard:06d}.parquet"
                    self._writer = pq.ParquetWriter(name, self._schema, filesystem=self._files)
                part = table.slice(0, min(ROWS_A_GROUP, ROWS_A_FILE - self._rows))
                self._writer.write_table(part)
                table, self._rows = table.slice(len(part)), self._rows + len(part)
                if self._rows == ROWS_A_FILE:
                    self._close()

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer, self._rows, self._shard = None, 0, self._shard + 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._buffered:
            self._flush()
        with self._writing() if kind is None else suppress(OSError):
            self._close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingsError(f"{self._folder} cannot be written: {error}. Check --out and its rights.") from None
