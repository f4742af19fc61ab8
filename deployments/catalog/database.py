"""The catalogue's DuckDB file: opening it, cursors and transactions, and its migration from earlier versions."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cluster.errors import SettingsError
from cluster.results.layout import INNER
from deployments.catalog import merge
from deployments.catalog.shapes import Json

log = logging.getLogger(__name__)

FILE = "catalog-3.duckdb"  # in state_dir, since version 0.2; it notes the version of its tables itself
MEMORY = "1GB"  # limit of DuckDB's memory; above it, DuckDB spills to files beside the catalogue
THREADS = 2
QUERY_S = 40.0  # then a query is interrupted: whoever asked has been answered without it, at the latest after 30 s
# version of the tables in merge.py and of what fills them: raise it when they change; files of version 0.1 have none: 1
LAYOUT = 6

LOCK_S = 15.0  # that a process which is being replaced by this one may still have the file
HELD = "Conflicting lock is held"  # of DuckDB's message

Ask = Callable[..., list[Json]]  # a statement and its values -> its rows


class Database:
    """Owns the DuckDB file, which one process may have open. Methods may be called from several threads.

    The tables of a file with another LAYOUT are dropped; the folders to load again are then in `unfinished()`.
    SettingsError if the file does not open.
    """

    def __init__(self, path: Path | Literal[":memory:"]) -> None:
        import duckdb

        self._opening = threading.Lock()
        config: dict[str, Any] = {"memory_limit": MEMORY, "threads": THREADS, "preserve_insertion_order": False}
        # the results are other people's data: no statement may reach a file, the network or an extension
        config |= {"enable_external_access": False, "autoload_known_extensions": False, "lock_configuration": True}
        if path == ":memory:":
            config["temp_directory"] = ""  # the default is a folder in the working directory
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _connected(str(path), config)
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
        """A cursor that one thread may use until the `with` block ends."""
        with self._opening:
            cursor = self._db.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction: committed at the end of the block, rolled back if an exception leaves it."""
        with self.cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """A cursor whose statements end after QUERY_S in all, then with duckdb.InterruptException."""
        with self.cursor() as cursor:
            limit = threading.Timer(QUERY_S, cursor.interrupt)
            limit.daemon = True
            limit.start()
            try:
                yield cursor
            finally:
                limit.cancel()

    @contextmanager
    def snapshot(self) -> Iterator[Ask]:
        """A function that runs statements in one read transaction: their rows agree, whatever is loaded meanwhile."""
        with self._asking() as cursor:
            cursor.begin()
            yield lambda statement, values=(): _named(cursor.execute(statement, values))

    def rows(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Json]:
        """Run one statement; its rows as dicts by column name."""
        with self._asking() as cursor:
            return _named(cursor.execute(statement, values))

    def unfinished(self) -> list[str]:
        """Folders of results that were loaded when the tables were dropped, and are not loaded again yet."""
        return [row["folder"] for row in self.rows("select folder from unfinished order by folder")]

    def finish(self, folder: str) -> None:
        """Note that a folder has been loaded again."""
        self.rows("delete from unfinished where folder = ? returning folder", [folder])


def folders_of(path: Path) -> set[str]:
    """The folders of results that a catalogue's file was filled from. SettingsError if another process has it open."""
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as database:
            tables = {name for (name,) in database.execute("select table_name from duckdb_tables()").fetchall()}
            statements = {
                "loaded": f"select distinct regexp_replace(file, '{INNER}', '') from loaded",
                "unfinished": "select folder from unfinished",
            }
            chosen = [statement for table, statement in statements.items() if table in tables]
            return {folder for statement in chosen for (folder,) in database.execute(statement).fetchall()}
    except duckdb.Error as error:
        raise SettingsError(
            f"the catalogue {path} does not open: {str(error).splitlines()[0]}. If no other process has it open, "
            "delete it; it is built anew from the results."
        ) from error


def begin_again(path: Path, folders: Iterable[str]) -> None:
    """Replace the file, so that no byte of it is left, by an empty one that is to load these folders.

    A catalogue loads them in its background when it is opened next. SettingsError if another process has it open.
    """
    folders_of(path)  # raises if another process has it open
    new = path.with_name(f".{path.name}.new")
    _delete(new.parent.glob(f"{new.name}*"))  # of a process that was killed
    begin(new, folders)
    _delete(file for file in path.parent.glob(f"{path.name}*") if file != path)  # its log, and what was spilled
    new.replace(path)


def begin(path: Path, folders: Iterable[str]) -> None:
    """Make a file that is to load these folders, which a catalogue does in its background when it opens it."""
    database = Database(path)
    with database.transaction() as cursor:
        cursor.executemany("insert into unfinished values (?)", [[folder] for folder in sorted(set(folders))])
    database.close()


def _delete(files: Iterable[Path]) -> None:
    for file in list(files):
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def _named(cursor: Any) -> list[Json]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _connected(path: str, config: dict[str, Any]) -> Any:
    """The opened file, once no other process has it open. duckdb.Error if it does not open within LOCK_S."""
    import duckdb

    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return duckdb.connect(path, config=config)
        except duckdb.IOException as error:
            if HELD not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _bring_to_layout(cursor: Any) -> None:
    """Create the tables. Those of another layout are dropped first, and the folders they were filled from are noted."""
    rows = cursor.execute("select table_name from duckdb_tables() where not internal").fetchall()
    tables = {name for (name,) in rows}
    if "layout" in tables:
        layout = cursor.execute("select version from layout").fetchone()[0]
    else:
        layout = 1 if "loaded" in tables else LAYOUT
    cursor.execute("create table if not exists unfinished(folder varchar)")
    if layout != LAYOUT:
        log.warning("the catalogue was made by another version: it is being built again from the results")
        cursor.execute(
            f"insert into unfinished select distinct regexp_replace(file, '{INNER}', '') as folder from loaded "
            "where folder not in (select folder from unfinished)"
        )
        for name in tables - {"unfinished"}:
            cursor.execute(f'drop table "{name}"')
    for statement in merge.SCHEMA:
        cursor.execute(statement)
    cursor.execute(f"create table if not exists layout as select {LAYOUT} as version")
