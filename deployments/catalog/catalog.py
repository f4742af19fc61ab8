"""The results, asked: filter, sort, page, count, search and export, over an index built from committed Parquet."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from cluster.api_queries import AssetQuery
from cluster.errors import SettingsError
from cluster.records import Kind
from cluster.results import files as results_files
from deployments.catalog import merge
from deployments.catalog import queries as sql
from deployments.catalog.shapes import Json, as_finding, as_item, as_line, as_summary, by_asset

log = logging.getLogger(__name__)

MEMORY = "1GB"  # of DuckDB; what does not fit is done on disk, beside the catalogue
THREADS = 2
BATCH_BYTES = 64_000_000  # of rows merged in one transaction
FILES_A_TURN = 1000  # loaded before others who load get theirs
AGAIN_S = 60.0  # after results that could not be read
STREAMED = 2000  # rows of an export in memory at a time

Ask = Callable[..., list[Json]]  # a statement and its values -> its rows


class Catalog:
    """Owns a DuckDB file: one process may have it open. It is an index; deleted, it is built anew from the results.

    Methods may be called from several threads. SettingsError if the file does not open. What lies in a folder `of`
    results already is loaded meanwhile, by a thread.
    """

    def __init__(
        self,
        path: Path | Literal[":memory:"],
        thumbnails: bool = True,
        of: str | None = None,
        s3_endpoint: str | None = None,
    ) -> None:
        import duckdb

        self._columns = [name for name in merge.COLUMNS if thumbnails or name != "thumbnail"]
        self._refused: set[str] = set()  # files that hold no results, and were told of
        self._loading = threading.Lock()
        self._opening = threading.Lock()
        config: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "preserve_insertion_order": False}
        # the results are other people's data: no statement may reach a file, the network or an extension
        config |= {"enable_external_access": False, "autoload_known_extensions": False, "lock_configuration": True}
        if path == ":memory:":
            config["temp_directory"] = ""  # it would be a folder where the process happens to stand
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = duckdb.connect(str(path), config=config)
        except duckdb.Error as error:
            raise SettingsError(
                f"the catalogue {path} does not open: {str(error).splitlines()[0]}. If no other process has it open, "
                "delete it; it is built anew from the results."
            ) from error
        for statement in merge.SCHEMA:
            self._db.execute(statement)
        if of is not None:
            threading.Thread(target=self._catch_up, args=(of, s3_endpoint), daemon=True, name="catalogue").start()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self._opening:
            cursor = self._db.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _snapshot(self) -> Iterator[Ask]:
        """Answers that agree with each other, whatever is loaded meanwhile."""
        with self._cursor() as cursor:
            cursor.begin()
            yield lambda statement, values=(): _named(cursor.execute(statement, values))

    def _rows(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Json]:
        with self._cursor() as cursor:
            return _named(cursor.execute(statement, values))

    # ---- filling

    def load(self, file: str, s3_endpoint: str | None = None) -> int:
        """Merge one committed Parquet file; its number of rows, 0 if it was loaded before.

        SettingsError if it is no file of results; nothing of it is kept then.
        """
        with self._loading:
            if self._rows("select 1 from loaded where file = ?", [file]):
                return 0
            return self._merge({file: self._read(file, s3_endpoint)})

    def load_all(self, out: str, s3_endpoint: str | None = None) -> int:
        """Merge every committed file of a folder that is not loaded yet; the number of rows.

        A file that holds no results is logged, once, and left out.
        """
        known = {row["file"] for row in self._rows("select file from loaded")}
        coming = [file for file in results_files.committed(out, s3_endpoint) if file not in known]
        rows = 0
        for begin in range(0, len(coming), FILES_A_TURN):
            rows += self._load_some(coming[begin : begin + FILES_A_TURN], s3_endpoint)
            if begin + FILES_A_TURN < len(coming):
                log.info("%d rows of %s are in the catalogue so far", rows, out)
        return rows

    def _load_some(self, files: list[str], s3_endpoint: str | None) -> int:
        """Merge those that nobody else has meanwhile. Others get their turn after them: a folder may take hours."""
        with self._loading:
            known = {
                row["file"] for row in self._rows("select file from loaded where file in (select unnest(?))", [files])
            }
            rows, size, batch = 0, 0, {}
            for file in files:
                if file in known:
                    continue
                try:
                    batch[file] = self._read(file, s3_endpoint)
                except SettingsError as error:  # it is looked at again the next time: it may be on its way here
                    if file not in self._refused:
                        log.error("not in the catalogue: %s", error)
                        self._refused.add(file)
                    continue
                size += batch[file].nbytes
                if size > BATCH_BYTES:
                    rows += self._merge(batch)
                    size, batch = 0, {}
            return rows + self._merge(batch)

    def _catch_up(self, out: str, s3_endpoint: str | None) -> None:
        """Load what is there, however long the results are away."""
        while True:
            began = time.monotonic()
            try:
                if rows := self.load_all(out, s3_endpoint):
                    log.info("%d rows of %s are in the catalogue, after %.1f s", rows, out, time.monotonic() - began)
                return
            except Exception as error:  # whatever keeps them away, it may pass; people can browse what is there
                log.warning("%s is not in the catalogue yet: %s", out, error)
                time.sleep(AGAIN_S)

    def _read(self, file: str, s3_endpoint: str | None) -> pa.Table:
        return merge.incoming(results_files.read(file, self._columns, s3_endpoint))

    def _merge(self, tables: dict[str, pa.Table]) -> int:
        if not tables:
            return 0
        with self._cursor() as cursor:
            cursor.register("incoming", pa.concat_tables(tables.values()).combine_chunks())
            cursor.begin()
            try:
                for statement in merge.LOAD:
                    cursor.execute(statement)
                loaded = [[file, table.num_rows] for file, table in tables.items()]
                cursor.executemany("insert into loaded values (?, ?)", loaded)
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise
        return sum(table.num_rows for table in tables.values())

    def forget(self, detector: str, label: str) -> int:
        """Leave out all detections of that detector and label; how many there were.

        They must have left the results before: what is loaded afterwards is in again. No answer has them any more;
        pages of the file may, until it is built anew.
        """
        with self._loading, self._cursor() as cursor:
            cursor.begin()
            for table in ("best", "tallies", "counted", "history"):
                cursor.execute(f"delete from {table} where detector = ? and label = ?", [detector, label])
            gone = cursor.execute(
                "delete from detections where detector = ? and label = ? returning 1", [detector, label]
            ).fetchall()
            cursor.commit()
            cursor.execute("checkpoint")  # or they stay in the write-ahead log too
        return len(gone)

    # ---- browsing

    def assets(self, query: AssetQuery) -> Json:
        """A page: {"total", "page", "size", "items"}. An item's score is the best of its matching detections."""
        source, values = sql.selection(query)
        scored, of_scored = sql.selection(query, scored=query.sort == "score")
        page = f"select f.asset {scored} order by {sql.SORTS[query.sort]}, f.id limit ? offset ?"
        with self._snapshot() as ask:
            total = ask(f"select count(*) as n {source}", values)[0]["n"]
            shown = ask(page, [*of_scored, query.size, (query.page - 1) * query.size])
            items = _items(ask, [row["asset"] for row in shown], query)
        return {"total": total, "page": query.page, "size": query.size, "items": items}

    def facets(self, query: AssetQuery) -> Json:
        """How many files there are of each kind, detection and outcome under the query's other filters."""
        everything, values = sql.selection(query)
        kinds, of_kinds = sql.selection(query.model_copy(update={"kind": ()}))
        failed, of_failed = sql.selection(query.model_copy(update={"failed": True}))
        any_detection = {"detector": (), "label": (), "detector_label": (), "min_score": None}
        found, of_found = sql.selection(query.model_copy(update=any_detection))
        with self._snapshot() as ask:
            by_kind = ask(f"select f.kind, count(*) as n {kinds} group by all order by all", of_kinds)
            return {
                "total": ask(f"select count(*) as n {everything}", values)[0]["n"],
                "kinds": {row["kind"]: row["n"] for row in by_kind if row["kind"]},
                "found_by": {
                    row["detector"]: row["n"]
                    for row in ask(sql.FOUND_BY.format(found=found), [*of_found, query.min_score or 0.0])
                },
                "detectors": ask(sql.FACETS.format(found=found), [*of_found, query.min_score or 0.0]),
                "failed": ask(f"select count(*) as n {failed}", of_failed)[0]["n"],
            }

    def items(self, ids: Sequence[str]) -> list[Json]:
        """The same items for these ids, in their order; unknown ids are left out."""
        with self._snapshot() as ask:
            rows = ask("select asset, id from files where id in (select try_cast(unnest(?) as uuid))", [list(ids)])
            found = {row["id"].hex: row["asset"] for row in rows}
            return _items(ask, [found[id] for id in ids if id in found], AssetQuery())

    def asset(self, id: str) -> Json | None:
        """All that is known of one file, None if there is none of that id."""
        with self._snapshot() as ask:
            rows = ask("select asset, sha256 from files where id = try_cast(? as uuid)", [id])
            if not rows:
                return None
            (item,) = _items(ask, [rows[0]["asset"]], AssetQuery())
            found = ask(sql.DETECTIONS, [rows[0]["asset"]])
        detections = [as_finding(row) for row in found]
        return {**item, "sha256": rows[0]["sha256"], "detections": detections}

    def place(self, id: str) -> tuple[str, Kind | None] | None:
        """The URI of a file, and its kind: None if it is no media. None for an id that is unknown."""
        rows = self._rows("select uri, kind from files where id = try_cast(? as uuid)", [id])
        return (rows[0]["uri"], rows[0]["kind"]) if rows else None

    def thumbnail(self, id: str) -> bytes | None:
        """JPEG, at most 320 px."""
        rows = self._rows(sql.THUMBNAIL, [id])
        return rows[0]["jpeg"] if rows else None

    def text_search(self, words: str, limit: int = 40) -> list[Json]:
        """Files in whose text, speech or name the words stand as they are, whatever their case; whole words first.

        One hit a file, its best line: {"asset": its id, "detector" (None: the name), "text", "time_s", "score"}.
        """
        words = " ".join(words.lower().split())
        if not words:
            return []
        hits = self._rows(sql.HITS, {"words": words, "limit": limit})
        return [{**hit, "asset": hit["asset"].hex, "score": round(hit["score"], 4)} for hit in hits]

    # ---- jobs and export

    def job(self, job: str) -> Json:
        """How many of a job's units are in ("done"), and how many of these have errors ("failed")."""
        (counted,) = self._rows(sql.JOB, [job])
        return {"done": counted["done"], "failed": counted["failed"]}

    def jobs(self) -> dict[str, Json]:
        """The same of every job that has units here."""
        return {row.pop("job"): row for row in self._rows(sql.JOBS)}

    def summary(self, job: str) -> Json:
        """What a job found: {"files", "failed": [{"uri", "step", "reason"}], "detectors": [{"detector", "files",
        "detections", "top_labels": [{"label", "files"}], "example"}]}. Files of a detector: those in which there was
        something; example: a text that was read or heard."""
        with self._snapshot() as ask:
            examples = {row["detector"]: row["text"] for row in ask(sql.EXAMPLES, [job])}
            files = ask(sql.JOB, [job])[0]["files"]
            return as_summary(files, ask(sql.FAILED, [job]), ask(sql.TALLIES, [job]), examples)

    def lines(self) -> Iterator[Json]:
        """Every file with its detections and errors, by URI: the lines of an export."""
        with self._cursor() as cursor:
            cursor.execute(sql.LINES)
            names = [column[0] for column in cursor.description]
            stream = iter(lambda: cursor.fetchmany(STREAMED), [])
            rows = (dict(zip(names, row, strict=True)) for chunk in stream for row in chunk)
            for _, of_file in groupby(rows, key=lambda row: row["uri"]):
                yield as_line(list(of_file))


def _named(cursor: Any) -> list[Json]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _items(ask: Ask, assets: list[int], query: AssetQuery) -> list[Json]:
    match, values = sql.matching(query)
    files = ask(sql.ITEMS.format(match=f"and {match}" if match else ""), [assets, *values, assets])
    labels, boxes = by_asset(ask(sql.LABELS, [assets])), by_asset(ask(sql.BOXES, [assets]))
    rows = {row["asset"]: row for row in files}
    return [as_item(rows[asset], labels.get(asset, []), boxes.get(asset, [])) for asset in assets]
