"""A table that is too long for memory, written as several Parquet files."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import SettingsError
from cluster.storage import buckets

ROWS_A_FILE = 100_000
ROWS_A_GROUP = 10_000  # in memory at a time, of who writes and of who reads


class Shards:
    """The Parquet files of a folder, from 000000.parquet on. SettingsError if they cannot be written."""

    def __init__(self, folder: str, schema: pa.Schema, s3_endpoint: str | None) -> None:
        self._folder, self._schema = folder, schema
        self._files, self._place = buckets.filesystem(folder, s3_endpoint)
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._shard = 0

    def __enter__(self) -> "Shards":
        with self._writing():
            self._files.create_dir(self._place, recursive=True)
        return self

    def add(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        if sum(len(table) for table in self._waiting) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        with self._writing():
            while len(table):
                if self._writer is None:
                    name = f"{self._place}/{self._shard:06d}.parquet"
                    self._writer = pq.ParquetWriter(name, self._schema, filesystem=self._files)
                now = table.slice(0, min(ROWS_A_GROUP, ROWS_A_FILE - self._rows))
                self._writer.write_table(now)
                table, self._rows = table.slice(len(now)), self._rows + len(now)
                if self._rows == ROWS_A_FILE:
                    self._close()

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer, self._rows, self._shard = None, 0, self._shard + 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._waiting:
            self._flush()
        with self._writing() if kind is None else suppress(OSError):
            self._close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingsError(f"{self._folder} cannot be written: {error}. Check --out and its rights.") from None
