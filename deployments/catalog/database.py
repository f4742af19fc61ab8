"""The catalogue's DuckDB file: opened, asked, and emptied where an earlier version made it."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cluster.errors import SettingsError
from deployments.catalog import merge
from deployments.catalog.shapes import Json

log = logging.getLogger(__name__)

MEMORY = "1GB"  # of DuckDB; what does not fit is done on disk, beside the catalogue
THREADS = 2
LAYOUT = 2  # of the tables in merge.py; raised when they change. 1, which was not noted, is that of version 0.1

Ask = Callable[..., list[Json]]  # a statement and its values -> its rows


class Database:
    """Owns the file: one process may have it open. Methods may be called from several threads.

    A file of another layout is emptied: it is an index, and what it held is loaded again from `unfinished()`.
    SettingsError if it does not open.
    """

    def __init__(self, path: Path | Literal[":memory:"]) -> None:
        import duckdb

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
        with self.transaction() as cursor:
            _bring_to_layout(cursor)

    def close(self) -> None:
        """Close the file; no other method may be called afterwards."""
        self._db.close()

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor of its own, for one thread."""
        with self._opening:
            cursor = self._db.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor whose statements take effect together at the end, or not at all if an exception ends them."""
        with self.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise

    @contextmanager
    def snapshot(self) -> Iterator[Ask]:
        """Answers that agree with each other, whatever is loaded meanwhile."""
        with self.cursor() as cursor:
            cursor.begin()
            yield lambda statement, values=(): _named(cursor.execute(statement, values))

    def rows(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Json]:
        """The rows of one statement."""
        with self.cursor() as cursor:
            return _named(cursor.execute(statement, values))

    def unfinished(self) -> list[str]:
        """The folders of results that were in the file when it was emptied, and have not been loaded again."""
        return [row["folder"] for row in self.rows("select folder from unfinished order by folder")]

    def finish(self, folder: str) -> None:
        """Note that a folder has been loaded again."""
        self.rows("delete from unfinished where folder = ? returning folder", [folder])


def _named(cursor: Any) -> list[Json]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _bring_to_layout(cursor: Any) -> None:
    """Make the tables; drop those of another layout first, and note which folders they were filled from."""
    rows = cursor.execute("select table_name from duckdb_tables() where not internal").fetchall()
    tables = {name for (name,) in rows}
    if "layout" in tables:
        layout = cursor.execute("select version from layout").fetchone()[0]
    else:
        layout = 1 if "loaded" in tables else LAYOUT
    cursor.execute("create table if not exists unfinished(folder varchar)")
    if layout != LAYOUT:
        log.warning("the catalogue is of another version: it is built anew from the results, by itself")
        cursor.execute(
            "insert into unfinished select distinct regexp_replace(file, '/[^/]*$', '') as folder from loaded "
            "where folder not in (select folder from unfinished)"
        )
        for name in tables - {"unfinished"}:
            cursor.execute(f'drop table "{name}"')
    for statement in merge.SCHEMA:
        cursor.execute(statement)
    cursor.execute(f"create table if not exists layout as select {LAYOUT} as version")
