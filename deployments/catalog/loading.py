"""Loads committed results into the catalogue's tables, and deletes detections from them."""

import logging
import threading
import time

import pyarrow as pa

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.results import layout
from deployments.catalog import merge
from deployments.catalog.database import Database

log = logging.getLogger(__name__)

BATCH_BYTES = 64_000_000  # size of the rows that one transaction merges
FILES_A_TURN = 1000  # files loaded before the lock is released, so that other threads can load too
AGAIN_S = 60.0  # pause before folders that could not be read are tried again


class Loader:
    """Fills a database from folders of results. Methods may be called from several threads; one merges at a time."""

    def __init__(self, database: Database, thumbnails: bool) -> None:
        self._database = database
        self._columns = [name for name in merge.COLUMNS if thumbnails or name != "thumbnail"]
        self._refused: set[str] = set()  # files that hold no results, and were logged
        self._loading = threading.Lock()
        self.changes = 0  # how often the tables were changed

    def load(self, file: str, s3_endpoint: str | None = None) -> int:
        """Merge one committed Parquet file. Returns its number of rows, 0 if it was loaded before.

        SettingsError if it holds no results; nothing of it is kept then.
        """
        with self._loading:
            if self._database.rows("select 1 from loaded where file = ?", [file]):
                return 0
            return self._merge({file: self._read(file, s3_endpoint)})

    def load_all(self, out: str, s3_endpoint: str | None = None) -> int:
        """Merge every committed file of a folder that is not loaded yet. Returns the number of rows added.

        `out` may be the folder of one job in it. A file that holds no results is logged once and skipped; one that a
        compaction has made of loaded files is not read.
        """
        files = results_files.committed(out, s3_endpoint)
        known = self._loaded(files)
        coming = [file for file in files if file not in known]
        if taken := layout.taken_over(out, coming, self._loaded, s3_endpoint):
            with self._database.transaction() as cursor:
                cursor.executemany("insert into loaded values (?, 0)", [[file] for file in sorted(taken)])
            coming = [file for file in coming if file not in taken]
        rows = 0
        for begin in range(0, len(coming), FILES_A_TURN):
            rows += self._load_some(coming[begin : begin + FILES_A_TURN], s3_endpoint)
            if begin + FILES_A_TURN < len(coming):
                log.info("%d rows of %s are in the catalogue so far", rows, out)
        return rows

    def _loaded(self, files: list[str]) -> set[str]:
        """Those of the files that are loaded."""
        rows = self._database.rows("select file from loaded where file in (select unnest(?))", [files])
        return {row["file"] for row in rows}

    def _load_some(self, files: list[str], s3_endpoint: str | None) -> int:
        """Merge the files that no other thread has loaded meanwhile, under the lock. A whole folder may take hours."""
        with self._loading:
            known = self._loaded(files)
            rows, size, batch = 0, 0, {}
            for file in files:
                if file in known:
                    continue
                try:
                    batch[file] = self._read(file, s3_endpoint)
                except SettingsError as error:  # tried again by the next call: it may still be on its way here
                    if file not in self._refused:
                        log.error("not in the catalogue: %s", error)
                        self._refused.add(file)
                    continue
                size += batch[file].nbytes
                if size > BATCH_BYTES:
                    rows += self._merge(batch)
                    size, batch = 0, {}
            return rows + self._merge(batch)

    def catch_up(self, folders: list[str], s3_endpoint: str | None = None) -> None:
        """Load these folders; those that cannot be read are tried again every AGAIN_S. Returns when all are loaded."""
        waiting = list(folders)
        while waiting:
            waiting = [folder for folder in waiting if not self._caught_up(folder, s3_endpoint)]
            if waiting:
                time.sleep(AGAIN_S)

    def _caught_up(self, folder: str, s3_endpoint: str | None) -> bool:
        began = time.monotonic()
        try:
            if rows := self.load_all(folder, s3_endpoint):
                log.info("%d rows of %s are in the catalogue, after %.1f s", rows, folder, time.monotonic() - began)
            self._database.finish(folder)
            return True
        except Exception as error:  # it may be temporary; what is loaded can be browsed meanwhile
            log.warning("%s is not in the catalogue yet: %s", folder, error)
            return False

    def _read(self, file: str, s3_endpoint: str | None) -> pa.Table:
        return merge.incoming(results_files.read(file, self._columns, s3_endpoint))

    def _merge(self, tables: dict[str, pa.Table]) -> int:
        if not tables:
            return 0
        with self._database.transaction() as cursor:
            cursor.register("incoming", pa.concat_tables(tables.values()).combine_chunks())
            for statement in merge.LOAD:
                cursor.execute(statement)
            loaded = [[file, table.num_rows] for file, table in tables.items()]
            cursor.executemany("insert into loaded values (?, ?)", loaded)
        self.changes += 1
        return sum(table.num_rows for table in tables.values())

    def forget(self, detector: str, label: str) -> int:
        """Delete all detections of that detector and label. Returns how many there were.

        They must be deleted from the results first, or the next load adds them again. Queries no longer return them;
        free pages of the database file may hold them until the file is built again.
        """
        with self._loading:
            with self._database.transaction() as cursor:
                cursor.execute(
                    "create temp table newest as select distinct asset from best where detector = ? and label = ?",
                    [detector, label],
                )
                for table in ("tallies", "counted", "history"):
                    cursor.execute(f"delete from {table} where detector = ? and label = ?", [detector, label])
                gone = cursor.execute(
                    "delete from detections where detector = ? and label = ? returning 1", [detector, label]
                ).fetchall()
                for statement in merge.BEST:
                    cursor.execute(statement)
            self.changes += 1
            with self._database.cursor() as cursor:
                cursor.execute("checkpoint")  # or they stay in the write-ahead log too
        return len(gone)
