"""Callers of the queue: how many jobs one may have at a time, and which of their requests the queue remembers.

A request with an Idempotency-Key is claimed by whoever answers it, so that a repetition does not begin beside it. The
job and the answer are stored in one transaction. So a request never makes two jobs, even if the API process that
answers it ends, or the claim runs out, in between.
"""

import sqlite3
import time
from dataclasses import dataclass
from typing import Literal

KEPT_S = 24 * 3600.0  # how long the answer to a request is remembered
CLAIMED_S = 60.0  # then whoever answers a request is taken for dead, and a repetition of it is answered

SCHEMA = """create table if not exists requests(owner text, key text, digest text, job text, answered integer,
        claimed_at real, primary key (owner, key)) without rowid;
    create index if not exists requests_by_time on requests(claimed_at);"""


class TooManyJobs(Exception):
    """A caller has as many jobs waiting or running as it may have."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks the queue for something. `key` and `digest`: the request's Idempotency-Key, and a hash of it."""

    owner: str = ""  # Identity.owner; empty: a job of this caller belongs to nobody
    most_jobs: int | None = None  # that may wait or run for it at a time; None: any number
    key: str = ""  # empty: the request has none, and is not remembered
    digest: str = ""


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a request: it is new, being answered, answered before, or its key belongs to another request."""

    state: Literal["new", "in progress", "answered", "another"]
    job: str | None = None  # the answer: the job that was made or resumed, or the case; None: nothing was to be done


def claim(db: sqlite3.Connection, caller: Caller) -> Claim:
    """Claim a caller's request if it is new. The connection is in a transaction."""
    now = time.time()
    db.execute("delete from requests where claimed_at < ?", [now - KEPT_S])
    known = answered(db, caller)
    if known.state == "new":
        db.execute("insert or replace into requests values (?, ?, ?, null, 0, ?)", [*_names(caller), now])
    return known


def answered(db: sqlite3.Connection, caller: Caller) -> Claim:
    """What is known of a caller's request; it is new if nobody answers it any more."""
    row = db.execute(
        "select digest, job, answered, claimed_at from requests where owner = ? and key = ?", [caller.owner, caller.key]
    ).fetchone()
    if row is None:
        return Claim("new")
    digest, job, is_answered, claimed_at = row
    if digest != caller.digest:
        return Claim("another")
    if is_answered:
        return Claim("answered", job)
    return Claim("in progress" if claimed_at > time.time() - CLAIMED_S else "new")


def release(db: sqlite3.Connection, caller: Caller) -> None:
    """Give up the claim of a request that was refused: it may be repeated with the same key."""
    db.execute("delete from requests where owner = ? and key = ? and digest = ? and not answered", [*_names(caller)])


def remember(db: sqlite3.Connection, caller: Caller, job: str | None) -> None:
    """Store the answer to a request."""
    db.execute("insert or replace into requests values (?, ?, ?, ?, 1, ?)", [*_names(caller), job, time.time()])


def _names(caller: Caller) -> tuple[str, str, str]:
    return caller.owner, caller.key, caller.digest
