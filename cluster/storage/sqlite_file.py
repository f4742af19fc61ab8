"""An SQLite file of the head's state, which several threads and processes have open."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal


def create_file(path: Path) -> None:
    """Make an empty file with mode 0600, unless it exists. SQLite gives its side files the same mode.

    A file that exists is not opened: POSIX locks belong to the process, so closing it would end those of this process's
    other connections. Another process then takes itself for the only one and deletes the log that they read and write
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


class SqliteFile:
    """The file, made with mode 0600. Methods may be called from several threads, and by several processes at once."""

    def __init__(self, path: Path | Literal[":memory:"], schema: str) -> None:
        """`schema`: the statements that make what is not there yet. OSError or sqlite3.Error if it does not open."""
        self._lock = threading.RLock()
        if isinstance(path, Path):
            create_file(path)
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=10, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode=wal")
        self._db.executescript(schema)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; other threads and processes wait for its end."""
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.execute("commit")
            except BaseException:
                self._db.execute("rollback")
                raise

    @contextmanager
    def _erase(self) -> Iterator[sqlite3.Connection]:
        """A transaction after which no byte of what it deletes or replaces is left in the file.

        No other process may have the file open.
        """
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with self._write() as db:
                yield db
            self._db.execute("vacuum")
            self._db.execute("pragma wal_checkpoint(truncate)")
