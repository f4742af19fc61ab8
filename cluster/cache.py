"""The cache of detectors' answers: bytes by key, in Redis for all nodes or in a file of this node.

A store that fails is a miss, not an error.
"""

import logging
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
from cluster.storage.sqlite_file import create_file

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_AFTER_S = 1.0  # a store that failed is not called for this long
REDIS_TIMEOUT_S = 0.5
PREFIX = b"raysift:"


class Store(Protocol):
    """Where a cache keeps its bytes, by keys of 20 bytes. Every method may raise `errors`."""

    errors: tuple[type[Exception], ...]  # raised when the store is unreachable, full or damaged
    advice: str  # what the operator can do then

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are stored; reading a key postpones its removal."""

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store these values, replacing older ones."""

    def clear(self) -> int:
        """Delete every entry and return how many there were."""


class Cache:
    """Bytes by key. An error of the store is a miss; it is logged once for each outage."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.retry_at: dict[
            str, float
        ] = {}  # "read" or "write", if it failed last time -> monotonic time of the next try

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The stored values by key; keys that are not stored are left out."""
        by_digest = {_digest(key): key for key in keys}
        values = self._attempt("read", lambda: self.store.get(list(by_digest))) if by_digest else None
        return {by_digest[digest]: value for digest, value in (values or {}).items()}

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Store these values. The least recently used ones are removed first."""
        if entries:
            self._attempt("write", lambda: self.store.put({_digest(key): value for key, value in entries.items()}))

    def clear(self) -> int:
        """Delete everything; returns how many entries there were. SettingsError if the store cannot be reached."""
        try:
            return self.store.clear()
        except self.store.errors as error:
            raise SettingsError(f"the cache was not cleared ({_described(error)}). {self.store.advice}") from None

    def _attempt(self, operation: str, call: Callable[[], T]) -> T | None:
        """The result of a call of the store; None if it fails, or failed less than RETRY_AFTER_S ago."""
        if time.monotonic() < self.retry_at.get(operation, 0.0):
            return None
        try:
            result = call()
        except self.store.errors as error:
            if not self.retry_at:
                log.warning(
                    "no cache: files are analysed again until it works (%s). %s", _described(error), self.store.advice
                )
            self.retry_at[operation] = time.monotonic() + RETRY_AFTER_S
            return None
        self.retry_at.pop(operation, None)
        return result


def open_cache(settings: Settings) -> Cache:
    """The cache of these settings. SettingsError if cache.redis_url is invalid; a server that is down is a miss."""
    if settings.cache.redis_url:
        return Cache(RedisStore(settings.cache.redis_url, settings.cache.days))
    return Cache(_file(settings))


def erase_file(settings: Settings) -> int:
    """Delete every entry of this node's file, also if Redis is used instead; returns how many there were."""
    store = _file(settings)
    return Cache(store).clear() if store.path.exists() else 0


def _file(settings: Settings) -> "FileStore":
    path = settings.state_dir.absolute() / "cache.sqlite"
    return FileStore(path, settings.cache.max_mb, lambda: erasures.mark(settings))


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=20).digest()


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class RedisStore:
    """A Redis server, shared by all nodes. An entry expires `days` after it was last read or written."""

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
        """The stored values, in one round trip; the expiry of each is counted from now."""
        pipeline = self.server.pipeline(transaction=False)
        for key in keys:
            pipeline.getex(PREFIX + key, ex=self.seconds)
        return {key: value for key, value in zip(keys, pipeline.execute(), strict=True) if value is not None}

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store the values, in one round trip; all of them or, if Redis fails in between, some."""
        pipeline = self.server.pipeline(transaction=False)
        for key, value in entries.items():
            pipeline.set(PREFIX + key, value, ex=self.seconds)
        pipeline.execute()

    def clear(self) -> int:
        """Delete every key with our prefix; the server may be shared with other programs."""
        return sum(self.server.unlink(key) for key in self.server.scan_iter(match=PREFIX + b"*", count=1000))


class FileStore:
    """A SQLite file that several processes use at once. Beyond max_mb, the least recently used entries are removed.

    Its entries are erased when it is opened and `mark` (cluster/erasures.py) has changed. While the mark cannot be
    read, the file is not used: it may hold what has to be erased.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path, max_mb: float, mark: Callable[[], str] = str) -> None:
        self.path = path
        self.mark = mark
        self.most = int(max_mb * 1e6)
        self.advice = f"Free space on the disk of {path}, or delete that file if it is damaged: a new one is created."
        self.local = threading.local()  # one connection per thread, as SQLite requires

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored values; updates the hour of the last use of each."""
        connection, hour = self._connection(), _hour()
        values, old = {}, []
        for key in keys:
            row = connection.execute("SELECT value, used FROM answers WHERE key = ?", [key]).fetchone()
            if row is not None:
                values[key] = row[0]
                old += [(hour, key)] if row[1] < hour else []  # by the hour, so that few reads cause a write
        if old:
            # stored values can be read even if the disk is full
            with suppress(sqlite3.OperationalError), connection:
                connection.executemany("UPDATE answers SET used = ? WHERE key = ?", old)
        return values

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store the values in one transaction, then remove the least recently used ones if the file is too large."""
        connection, hour = self._connection(), _hour()
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                [(key, hour, value) for key, value in entries.items()],
            )
        if self._bytes(connection) > self.most:
            self._evict(connection)

    def clear(self) -> int:
        """Overwrite every entry, so that no byte of it is left in the file. sqlite3.Error if another process reads."""
        return self._erase(self._open(), self.mark())

    def _erase(self, connection: sqlite3.Connection, mark: str) -> int:
        """Overwrite all entries, store the mark of this erasure, and return how many there were."""
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
        """Remove the least recently used entries down to 90 % of the limit; 20 at a time, so that others may write."""
        oldest = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used LIMIT 20)"
        while self._bytes(connection) > 0.9 * self.most:
            with connection:
                if not connection.execute(oldest).rowcount:
                    return

    def _bytes(self, connection: sqlite3.Connection) -> int:
        """The size of the entries in bytes: of all pages that are in use."""
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection; a new one if the file was deleted or replaced since the last call."""
        held: tuple[int, sqlite3.Connection] | None = getattr(self.local, "held", None)
        there = self.path.stat().st_ino if self.path.exists() else None
        if held and held[0] == there:
            return held[1]
        connection, mark = self._open(), self.mark()
        erased = connection.execute("SELECT mark FROM erased").fetchone() or ("",)
        if erased[0] != mark:
            log.info("erased %d entries from %s", self._erase(connection, mark), self.path)
        self.local.held = (self.path.stat().st_ino, connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        create_file(self.path)  # it holds texts and faces: for its owner only
        connection = sqlite3.connect(self.path, timeout=5)
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            # keys are digests: stored in their order (WITHOUT ROWID), new ones fill the pages of removed ones
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, used INT, value BLOB) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_use ON answers (used)")
            connection.execute("CREATE TABLE IF NOT EXISTS erased (mark TEXT)")  # of the last erasure, if any
        return connection


def _hour() -> int:
    return int(time.time()) // 3600
