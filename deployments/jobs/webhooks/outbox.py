"""The deliveries that wait, were made or were given up, and the hits, in one SQLite file: state_dir/webhooks.sqlite."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.errors import SettingsError
from cluster.storage.sqlite_file import create_file

FILE = "webhooks.sqlite"  # in state_dir

State = Literal["waiting", "delivered", "given up"]

# seconds from a failed attempt to the next; after the last one a delivery is given up
PAUSES_S = (5.0, 30.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
KEPT_S = 30 * 86_400.0  # deliveries that were made are forgotten then
UNKNOWN_URL = "its address is not in the settings any more"

# hits: `delivery` is null until the hit is in one. seen: files of results that were read for the hits of a rule
_SCHEMA = """create table if not exists deliveries(id text primary key, url text, event text, job text, body blob,
        made_at real, attempts integer, due_at real, state text, error text);
    create index if not exists by_due on deliveries(state, url, due_at);
    create table if not exists hits(rule text, job text, asset text, delivery text,
        primary key(rule, job, asset)) without rowid;
    create index if not exists new_hits on hits(rule, job) where delivery is null;
    create table if not exists seen(rule text, file text, primary key(rule, file)) without rowid"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for one endpoint. Times are seconds since 1970."""

    id: str
    url: str
    event: str
    job: str
    body: bytes
    made_at: float
    attempts: int = 0
    due_at: float = 0.0
    state: State = "waiting"
    error: str = ""  # of the last attempt


class Outbox:
    """Owns the SQLite file, which several processes may have open. Methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        create_file(path)
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=20)
            self._db.execute("pragma journal_mode=wal")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise SettingsError(
                f"the list of webhooks {path} does not open: {error}. Move it away to begin a new one."
            ) from error

    def close(self) -> None:
        """Close the file; no method works afterwards."""
        self._db.close()

    def add(self, delivery: Delivery, hits: Sequence[str] = (), rule: str = "") -> None:
        """Keep a delivery, unless there was one of this id; with it, the assets of the hits of that rule it holds."""
        row = [getattr(delivery, name) for name in Delivery.__slots__]
        with self._changing():
            self._db.execute(f"insert or ignore into deliveries values ({','.join('?' * len(row))})", row)
            self._db.executemany(
                "update hits set delivery = ? where rule = ? and job = ? and asset = ?",
                [(delivery.id, rule, delivery.job, asset) for asset in hits],
            )

    def due(self, url: str, now: float) -> list[Delivery]:
        """Some of the deliveries to that URL whose time has come, the first one first."""
        return self._deliveries(
            "where state = 'waiting' and url = ? and due_at <= ? order by due_at limit 10", [url, now]
        )

    def listed(self) -> list[Delivery]:
        """The deliveries that wait or were given up, the newest last."""
        return self._deliveries("where state <> 'delivered' order by made_at, id", [])

    def record_attempt(self, delivery: Delivery, error: str, now: float) -> None:
        """Note an attempt: delivered if there is no error; else the next one is due later, or it is given up."""
        attempts = delivery.attempts + 1
        given_up = bool(error) and attempts > len(PAUSES_S)
        state: State = "given up" if given_up else "waiting" if error else "delivered"
        due_at = now + PAUSES_S[attempts - 1] if state == "waiting" else now
        with self._changing():
            self._db.execute(
                "update deliveries set attempts = ?, due_at = ?, state = ?, error = ? where id = ?",
                [attempts, due_at, state, error, delivery.id],
            )

    def retry(self, ids: Sequence[str]) -> int:
        """Make these deliveries due now, with all attempts before them; without ids, all given up. Returns how many.

        Those that were delivered stay so.
        """
        which = f"id in ({','.join('?' * len(ids))}) and state <> 'delivered'" if ids else "state = 'given up'"
        with self._changing():
            changed = self._db.execute(
                f"update deliveries set state = 'waiting', attempts = 0, due_at = 0 where {which}", list(ids)
            )
            return changed.rowcount

    def tidy(self, urls: Sequence[str], now: float) -> None:
        """Give up the deliveries to other URLs than these, and forget those that were made long ago."""
        with self._changing():
            self._db.execute(
                f"update deliveries set state = 'given up', error = ? where state = 'waiting' "
                f"and url not in ({','.join('?' * len(urls))})",
                [UNKNOWN_URL, *urls],
            )
            self._db.execute("delete from deliveries where state = 'delivered' and due_at < ?", [now - KEPT_S])

    def erase(self, names_erased: Callable[[bytes], bool], jobs: Iterable[str]) -> int:
        """Delete the deliveries and hits of these jobs, and those that name what is erased; returns their number.

        `names_erased`: whether the body of a delivery, or the id of an asset, names something that is erased. No byte
        of them is left in the file. No other process may have it open.
        """
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with self._db:
                self._db.create_function("names_erased", 1, lambda data: names_erased(bytes(data)))
                which = f"job in ({','.join('?' * len(erased := list(jobs)))}) or names_erased(cast(%s as blob))"
                removed = self._db.execute(f"delete from deliveries where {which % 'body'}", erased).rowcount
                removed += self._db.execute(f"delete from hits where {which % 'asset'}", erased).rowcount
            self._db.execute("vacuum")
            self._db.execute("pragma wal_checkpoint(truncate)")
        return removed

    # ---- hits

    def unseen(self, rule: str, files: Iterable[str]) -> list[str]:
        """Those of these files that were not read yet for the hits of that rule."""
        with self._lock:
            seen = {file for (file,) in self._db.execute("select file from seen where rule = ?", [rule])}
        return [file for file in files if file not in seen]

    def add_hits(self, rule: str, file: str, hits: Iterable[tuple[str, str]]) -> None:
        """Keep the hits (job, asset) that a file has for a rule, and note that it was read."""
        with self._changing():
            self._db.executemany("insert or ignore into hits values (?, ?, ?, null)", [(rule, *hit) for hit in hits])
            self._db.execute("insert or ignore into seen values (?, ?)", [rule, file])

    def new_hits(self, rule: str, limit: int) -> dict[str, list[str]]:
        """Job -> up to so many assets of its hits that are in no delivery yet."""
        with self._lock:
            query = "select job, asset from hits where rule = ? and job = ? and delivery is null order by asset limit ?"
            jobs = self._db.execute("select distinct job from hits where rule = ? and delivery is null", [rule])
            return {
                job: [asset for _, asset in self._db.execute(query, [rule, job, limit])] for (job,) in jobs.fetchall()
            }

    def last_made(self, url: str, event: str, job: str) -> float:
        """When the last delivery about that job was made, or 0."""
        with self._lock:
            rows = self._db.execute(
                "select max(made_at) from deliveries where url = ? and event = ? and job = ?", [url, event, job]
            )
            return rows.fetchone()[0] or 0.0

    def _deliveries(self, which: str, values: list[object]) -> list[Delivery]:
        with self._lock:
            rows = self._db.execute(f"select {','.join(Delivery.__slots__)} from deliveries {which}", values).fetchall()
        return [Delivery(*row) for row in rows]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, self._db:
            yield
