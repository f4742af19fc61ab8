"""What was answered before, by key: in Redis for all nodes, or in a file. What cannot be had is a miss, no error."""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cluster import erasures
from cluster.errors import SettingsError
from cluster.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

AGAIN_S = 1.0  # a store that was away is left alone for so long
REDIS_TIMEOUT_S = 0.5
PREFIX = b"raysift:"


class Store(Protocol):
    """Where a cache keeps its bytes, by keys of a fixed length."""

    errors: tuple[type[Exception], ...]  # what it raises when it is away, full or damaged
    advice: str

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...
    def put(self, entries: Mapping[bytes, bytes]) -> None: ...
    def clear(self) -> int: ...


class Cache:
    """Bytes by key. Whatever is wrong with its store is a miss; it is logged once an outage."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shut: dict[str, float] = {}  # reading or writing failed last time: when to try again

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Those that are there."""
        by_digest = {_digest(key): key for key in keys}
        found = self._tried("read", lambda: self.store.get(list(by_digest))) if by_digest else None
        return {by_digest[digest]: value for digest, value in (found or {}).items()}

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Keep these until nobody has asked for them for long."""
        if entries:
            self._tried("write", lambda: self.store.put({_digest(key): value for key, value in entries.items()}))

    def clear(self) -> int:
        """Delete everything; returns how many entries there were. SettingsError if the store cannot be reached."""
        try:
            return self.store.clear()
        except self.store.errors as error:
            raise SettingsError(f"the cache was not cleared ({_said(error)}). {self.store.advice}") from None

    def _tried(self, what: str, do: Callable[[], T]) -> T | None:
        if time.monotonic() < self.shut.get(what, 0.0):
            return None
        try:
            done = do()
        except self.store.errors as error:
            if not self.shut:
                log.warning("no cache, files are analysed anew meanwhile (%s). %s", _said(error), self.store.advice)
            self.shut[what] = time.monotonic() + AGAIN_S
            return None
        self.shut.pop(what, None)
        return done


def open_cache(settings: Settings) -> Cache:
    """The cache of these settings. SettingsError when cache.redis_url is none; that nobody answers there is a miss."""
    if settings.cache.redis_url:
        return Cache(RedisStore(settings.cache.redis_url, settings.cache.days))
    return Cache(_file(settings))


def erase_file(settings: Settings) -> int:
    """Delete what this node's file holds, whether or not it is in use beside Redis; returns how many entries."""
    store = _file(settings)
    return Cache(store).clear() if store.path.exists() else 0


def _file(settings: Settings) -> "FileStore":
    path = settings.state_dir.absolute() / "cache.sqlite"
    return FileStore(path, settings.cache.max_mb, lambda: erasures.mark(settings))


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=20).digest()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class RedisStore:
    """A Redis server. What nobody asks for expires after so many days."""

    def __init__(self, url: str, days: float) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self.seconds = max(1, round(days * 86_400))
        try:
            self.server: Any = redis.Redis.from_url(
                url,
                socket_connect_timeout=REDIS_TIMEOUT_S,
                socket_timeout=REDIS_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise SettingsError(f"settings: cache.redis_url is wrong: {error}") from None
        place = self.server.connection_pool.connection_kwargs  # the URL itself may hold a password
        self.advice = f"Start Redis at {place.get('host', place.get('path'))}:{place.get('port', '')} or correct " + (
            "cache.redis_url; unset it for a file on each node."
        )

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        asked = self.server.pipeline(transaction=False)
        for key in keys:
            asked.getex(PREFIX + key, ex=self.seconds)
        return {key: value for key, value in zip(keys, asked.execute(), strict=True) if value is not None}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        asked = self.server.pipeline(transaction=False)
        for key, value in entries.items():
            asked.set(PREFIX + key, value, ex=self.seconds)
        asked.execute()

    def clear(self) -> int:
        return sum(self.server.unlink(key) for key in self.server.scan_iter(match=PREFIX + b"*", count=1000))


class FileStore:
    """A SQLite file that several processes use at once. Beyond max_mb, what was not used for longest goes.

    It erases itself when it is opened and `mark` (cluster/erasures.py) has changed. While the mark cannot be read the
    file is not used: it may hold what is to be erased.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path, max_mb: float, mark: Callable[[], str] = str) -> None:
        self.path = path
        self.mark = mark
        self.most = int(max_mb * 1e6)
        self.advice = f"Free space on the disk of {path}, or delete that file if it is damaged: it is made anew."
        self.local = threading.local()  # a connection a thread

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        connection, hour = self._connection(), _hour()
        found, old = {}, []
        for key in keys:
            row = connection.execute("SELECT value, used FROM answers WHERE key = ?", [key]).fetchone()
            if row is not None:
                found[key] = row[0]
                old += [(hour, key)] if row[1] < hour else []  # noted by the hour: a read is seldom a write
        if old:
            # a full disk does not keep anybody from what is there
            with suppress(sqlite3.OperationalError), connection:
                connection.executemany("UPDATE answers SET used = ? WHERE key = ?", old)
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        connection, hour = self._connection(), _hour()
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                [(key, hour, value) for key, value in entries.items()],
            )
        if self._bytes(connection) > self.most:
            self._evict(connection)

    def clear(self) -> int:
        return self._erase(self._open(), self.mark())

    def _erase(self, connection: sqlite3.Connection, mark: str) -> int:
        """Overwrite all entries, note under which mark, and return how many there were."""
        connection.execute("PRAGMA secure_delete = ON")
        with connection:
            entries = connection.execute("DELETE FROM answers").rowcount
            connection.execute("DELETE FROM erased")
            connection.execute("INSERT INTO erased VALUES (?)", [mark])
        connection.execute("VACUUM")  # pages that were freed earlier still hold what was replaced or evicted
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise sqlite3.OperationalError(f"another process reads {self.path}, whose log still holds what was deleted")
        return entries

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Down to nine tenths, a few at a time, so that others may write in between."""
        oldest = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used LIMIT 20)"
        while self._bytes(connection) > 0.9 * self.most:
            with connection:
                if not connection.execute(oldest).rowcount:
                    return

    def _bytes(self, connection: sqlite3.Connection) -> int:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _connection(self) -> sqlite3.Connection:
        """This thread's own, to the file that has the name now: one that was deleted is left."""
        held: tuple[int, sqlite3.Connection] | None = getattr(self.local, "held", None)
        there = self.path.stat().st_ino if self.path.exists() else None
        if held and held[0] == there:
            return held[1]
        connection, mark = self._open(), self.mark()
        erased = connection.execute("SELECT mark FROM erased").fetchone() or ("",)
        if erased[0] != mark:
            log.info("%d answers are erased from %s", self._erase(connection, mark), self.path)
        self.local.held = (self.path.stat().st_ino, connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # what was read and who was seen stands in it
        connection = sqlite3.connect(self.path, timeout=5)
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            # keys are digests: in their order, without row ids, the room of what goes is filled again
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, used INT, value BLOB) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_use ON answers (used)")
            connection.execute("CREATE TABLE IF NOT EXISTS erased (mark TEXT)")  # of the last erasure, if any
        return connection


def _hour() -> int:
    return int(time.time()) // 3600
