"""The list of jobs of this cluster: the task and the state of each. One SQLite file, which outlives Ray."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cluster.access.identity import lies_under
from cluster.errors import SettingsError
from cluster.records import OVER, JobState
from deployments.jobs import callers
from deployments.jobs.callers import NOBODY, Caller, Claim
from deployments.jobs.job import JOB, Job, from_facts

LOOK_S = 0.1  # how often the state of a followed job is read

# changed: the jobs whose queue.json beside the results is older than their row here
# ended: the ends of jobs that webhooks are still to tell of
# assigned: the attempts at jobs that a driver in waiting was given, and the Ray submission id of that driver
_SCHEMA = """create table if not exists jobs(job text primary key, state text, submitted_at real, facts text);
    create index if not exists by_time on jobs(submitted_at); create index if not exists by_state on jobs(state);
    create table if not exists changed as select job from jobs;
    create unique index if not exists changed_once on changed(job);
    create table if not exists assigned(attempt text primary key, driver text);
    create table if not exists ended(job text, state text, ended_at real, primary key(job, ended_at));
    update jobs set state = 'blocked', facts = json_set(facts, '$.state', 'blocked') where state = 'parked';"""


@dataclass(frozen=True, slots=True)
class End:
    """That a job has ended, when and how; it may have been resumed since."""

    job: Job  # as it is now
    state: JobState
    ended_at: float


class JobStore:
    """Owns the SQLite file: one process may have it open. Methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._changing, self._asking = threading.RLock(), threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False)
            self._db.execute("pragma journal_mode=wal")
            self._db.executescript(_SCHEMA + callers.SCHEMA)
        except sqlite3.Error as error:
            raise SettingsError(
                f"the list of jobs {path} does not open: {error}. Move it away to begin a new one: results stay, and "
                "the jobs in it can be scanned again."
            ) from error

    def close(self) -> None:
        """Close the file, so that another process may open it. No method works afterwards."""
        self._db.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Lock the list between a read and a change that depends on it. No call leaves the process meanwhile."""
        with self._changing:
            yield

    def put(self, job: Job, caller: Caller = NOBODY) -> None:
        """Store a job, replacing what was stored of it. `caller`: whose request this answers, if it has a key."""
        with self._changing, self._asking, self._db:
            self._db.execute("insert or replace into jobs values (?, ?, ?, ?)", _row(job))
            self._db.execute("insert or ignore into changed values (?)", [job.job])
            if job.state in OVER and job.ended_at is not None:
                self._db.execute("insert or ignore into ended values (?, ?, ?)", [job.job, job.state, job.ended_at])
            if caller.key:
                callers.remember(self._db, caller, job.job)

    def ends(self) -> list[End]:
        """The ends of jobs that are not announced yet, the first one first."""
        with self._asking:
            rows = self._db.execute("select job, state, ended_at from ended order by ended_at").fetchall()
        jobs = {name: self.get(name) for name, _, _ in rows}
        return [End(job, state, at) for name, state, at in rows if (job := jobs[name]) is not None]

    def mark_announced(self, end: End) -> None:
        """Note that an end needs no further announcement."""
        with self._changing, self._asking, self._db:
            self._db.execute("delete from ended where job = ? and ended_at = ?", [end.job.job, end.ended_at])

    def claim(self, caller: Caller) -> Claim:
        """Claim a caller's request if it is new."""
        with self._changing, self._asking, self._db:
            return callers.claim(self._db, caller)

    def release(self, caller: Caller) -> None:
        """Give up the claim of a request."""
        with self._changing, self._asking, self._db:
            callers.release(self._db, caller)

    def remember(self, caller: Caller, job: str | None) -> None:
        """Store the answer to a request."""
        with self._changing, self._asking, self._db:
            callers.remember(self._db, caller, job)

    def answered(self, caller: Caller) -> Claim:
        """What is known of a caller's request."""
        with self._asking:
            return callers.answered(self._db, caller)

    def count_of(self, owner: str) -> int:
        """The number of jobs of an owner that wait or run."""
        marks = ",".join("?" * len(OVER))
        question = f"select count(*) from jobs where state not in ({marks}) and json_extract(facts, '$.owner') = ?"
        with self._asking:
            return int(self._db.execute(question, [*OVER, owner]).fetchone()[0])

    def assign(self, attempt: str, driver: str) -> None:
        """Note that an attempt at a job is the work of a driver that waited for one."""
        with self._changing, self._asking, self._db:
            self._db.execute("insert or replace into assigned values (?, ?)", [attempt, driver])

    def driver_of(self, attempt: str) -> str:
        """The Ray submission id of the driver that works, or has worked, on this attempt at a job."""
        with self._asking:
            row = self._db.execute("select driver from assigned where attempt = ?", [attempt]).fetchone()
        return row[0] if row else attempt

    def changed(self) -> list[Job]:
        """The jobs whose queue.json is older than their row, oldest first."""
        return self._jobs("where job in (select job from changed) order by submitted_at, rowid", [])

    def paged(self, job: Job) -> None:
        """Note that the queue.json of a job holds this record."""
        with self._changing:
            if self.get(job.job) == job:
                with self._asking, self._db:
                    self._db.execute("delete from changed where job = ?", [job.job])

    @property
    def searched(self) -> bool:
        """Whether the jobs that earlier heads have left beside the results have been added."""
        with self._asking:
            return bool(self._db.execute("pragma user_version").fetchone()[0])

    def found(self, jobs: list[Job]) -> int:
        """Add the jobs that are not listed, note that the search for them is over, and return how many were added."""
        with self._changing, self._asking, self._db:
            kept = self._db.executemany("insert or ignore into jobs values (?, ?, ?, ?)", map(_row, jobs)).rowcount
            self._db.execute("pragma user_version = 1")
            return kept

    def change(self, job: str, **facts: Any) -> Job | None:
        """Change these fields of a job and return it; None if no job has that name."""
        with self._changing:
            known = self.get(job)
            if known is None:
                return None
            changed = replace(known, **facts)
            if changed != known:
                self.put(changed)
            return changed

    def get(self, job: str) -> Job | None:
        """The job of that name."""
        return next(iter(self._jobs("where job = ?", [job])), None)

    async def followed(self, job: str, wait_s: float) -> Job | None:
        """The job of that name, once it is over, or after `wait_s`."""
        until = time.monotonic() + wait_s
        while self._state(job) not in (None, *OVER) and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        return self.get(job)

    def newest(self, limit: int, within: Sequence[str] | None = None) -> list[Job]:
        """The jobs that were submitted last, newest first. `within`: only those over files under these."""
        if within is None:
            return self._jobs("order by submitted_at desc, rowid desc limit ?", [limit])
        jobs = self._jobs("order by submitted_at desc, rowid desc", [])
        return [job for job in jobs if all(lies_under(uri.rstrip("/"), within) for uri in job.uris)][:limit]

    def of(self, *states: JobState) -> list[Job]:
        """All jobs in one of these states, oldest first."""
        marks = ",".join("?" * len(states))
        return self._jobs(f"where state in ({marks}) order by submitted_at, rowid", list(states))

    def counts(self) -> dict[str, int]:
        """State -> how many jobs are in it."""
        with self._asking:
            return dict(self._db.execute("select state, count(*) from jobs group by state").fetchall())

    def has_out(self, out: str) -> bool:
        """Whether a job stores its results in that folder."""
        return bool(self._jobs("where json_extract(facts, '$.out') = ? limit 1", [out]))

    def rewrite(self, change: Callable[[Job], Job | None]) -> int:
        """Replace every job by what `change` returns, or delete it for None; returns how many were changed.

        Their earlier records are overwritten: no byte of them is left in the file. No other process may have it open.
        """
        changed = 0
        with self._changing, self._asking:
            self._db.execute("pragma secure_delete = on")
            for (facts,) in self._db.execute("select facts from jobs").fetchall():
                job = JOB.validate_json(facts)
                if (new := change(job)) == job:
                    continue
                changed += 1
                with self._db:
                    self._db.execute("delete from jobs where job = ?", [job.job])
                    for table in ("changed", *(("ended", "requests") if new is None else ())):
                        self._db.execute(f"delete from {table} where job = ?", [job.job])
                    if new is None:
                        self._db.executemany(
                            "delete from assigned where attempt = ?", [[attempt] for attempt in job.attempts]
                        )
                    else:
                        self._db.execute("insert into jobs values (?, ?, ?, ?)", _row(new))
                        self._db.execute("insert into changed values (?)", [job.job])
            self._db.execute("vacuum")
            self._db.execute("pragma wal_checkpoint(truncate)")
        return changed

    def _state(self, job: str) -> str | None:
        """The state of a job, without its record, which may hold thousands of URIs; None if there is no such job."""
        with self._asking:
            row = self._db.execute("select state from jobs where job = ?", [job]).fetchone()
        return row[0] if row else None

    def _jobs(self, which: str, values: list[Any]) -> list[Job]:
        with self._asking:
            rows = self._db.execute(f"select facts from jobs {which}", values).fetchall()
        return [JOB.validate_json(facts) for (facts,) in rows]


def read_jobs(path: Path) -> list[Job]:
    """The jobs of a list that another process may have open, oldest first; none if there is no such file."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("select facts from jobs order by submitted_at, rowid").fetchall()
    return [from_facts(json.loads(facts)) for (facts,) in rows]


def _row(job: Job) -> tuple[str, str, float, str]:
    return job.job, job.state, job.submitted_at, json.dumps(asdict(job))
