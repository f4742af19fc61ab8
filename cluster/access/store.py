"""Keys, sessions, one-time links and users, in one SQLite file that several processes may have open."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any, Literal

from cluster.access import tokens
from cluster.access.identity import Identity, Role
from cluster.errors import SettingsError
from cluster.storage.sqlite_file import SqliteFile

Kind = Literal["key", "session", "link"]

USED_EVERY_S = 60.0  # `used_at` of a key is written at most so often
SESSION_S = 12 * 3600.0  # a working day; then a person signs in again
LINK_S = 600.0
KEPT_S = 30 * 24 * 3600.0  # expired sessions and links are deleted after this

# holder: of a session or link, whose rights it has: key:ID or user:NAME. Names of revoked keys stay in the list.
# A session of an OpenID provider's person has its own rights, and oidc:DIGEST:SUBJECT, see `start_oidc_session`.
_SCHEMA = """create table if not exists tokens(id text primary key, kind text, hash text, name text, role text,
        prefixes text, holder text, made_at real, expires_at real, revoked_at real, used_at real);
    create table if not exists users(name text primary key, password text, role text, prefixes text, made_at real)"""


class Refused(Exception):
    """A token that is not valid; the message says why, for whoever has it."""


class UnknownToken(Refused):
    """A token that is not stored here, or not as what it was taken for: one that is no one-time link may be a key."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as lists show it. Times are seconds since 1970."""

    id: str
    name: str
    role: Role
    prefixes: tuple[str, ...] | None
    made_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None  # coarse: written at most once a minute


@dataclass(frozen=True, slots=True)
class User:
    """A local user as lists show it. Times are seconds since 1970."""

    name: str
    role: Role
    prefixes: tuple[str, ...] | None
    made_at: float
    used_at: float | None  # of a session; None: of none that is kept


class AccessStore(SqliteFile):
    """The file, made with mode 0600. Methods may be called from several threads, and by several processes at once.

    `record` is called before a change is committed. If it raises, nothing is changed.
    """

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, _SCHEMA)
        except sqlite3.Error as error:
            raise SettingsError(
                f"the file of keys {path} does not open: {error}. Move it away to begin a new one; every key and user "
                "must then be made again."
            ) from error

    # ---- tokens

    def add_key(
        self,
        name: str,
        role: Role,
        prefixes: tuple[str, ...] | None = None,
        expires_at: float | None = None,
        token: tokens.Token | None = None,
        record: Callable[[tokens.Token], object] = lambda token: None,
    ) -> tokens.Token:
        """Store a key and return it; its secret is not stored. `token`: one that was made elsewhere."""
        return self._add("key", name, role, prefixes, None, expires_at, token, record)

    def add_link(self, id: str) -> tokens.Token:
        """A one-time link for whoever has this key: its token becomes a session once, within LINK_S."""
        key = self.identity(id)
        return self._add("link", key.name, key.role, key.prefixes, f"key:{id}", time.time() + LINK_S)

    def start_session(self, holder: str) -> tokens.Token:
        """A session of SESSION_S for key:ID or user:NAME. It ends too when that key or user does."""
        return self._add_session(self._holder(holder), holder)

    def start_oidc_session(
        self, who: Identity, digest: str, token: tokens.Token | None = None, expires_at: float | None = None
    ) -> tokens.Token:
        """A session for somebody whom an OpenID provider knows as `who.subject`, with the rights of `who`.

        `digest`: of the settings that gave these rights, which end the session when they change. `token`: of a JWT that
        is sent as the session's token, `expires_at`: its end; else there is a new one, of SESSION_S.
        sqlite3.IntegrityError if there is a session with this token.
        """
        return self._add_session(who, f"oidc:{digest}:{who.subject}", token, expires_at)

    def end_oidc_sessions(self, but_of: str | None) -> None:
        """End the sessions of OpenID providers' people, but for those of these settings' digest.

        Revoked ones are kept: a JWT that was revoked would begin another one.
        """
        ended = "revoked_at is null and holder glob 'oidc:*' and substr(holder, 1, length(?1)) != ?1"
        with self._write() as db:
            db.execute(f"delete from tokens where {ended}", [f"oidc:{but_of}:"])

    def redeem(self, token: tokens.Token) -> tokens.Token:
        """The session of a one-time link. Refused if it was used before, has expired or is no link."""
        row = self._row(token.id)
        if row is None or row["kind"] != "link" or not compare_digest(row["hash"], token.hash):
            raise UnknownToken("this link is not known here")
        with self._write() as db:
            used = db.execute("delete from tokens where id = ? and kind = 'link'", [token.id]).rowcount
        if not used or row["expires_at"] < time.time():
            raise Refused("this link was used before or has expired")
        return self.start_session(row["holder"])

    def identify(self, token: tokens.Token) -> Identity:
        """Whose key or session it is. Refused if it is unknown, revoked or expired."""
        row = self._row(token.id)
        if row is None or row["kind"] == "link" or not compare_digest(row["hash"], token.hash):
            raise UnknownToken("this key is not known here")
        found = self._valid(row)
        if (row["used_at"] or 0) < time.time() - USED_EVERY_S:
            # a full disk or a locked file must not refuse a valid key
            with suppress(sqlite3.OperationalError), self._write() as db:
                db.execute("update tokens set used_at = ? where id = ?", [time.time(), token.id])
        return found

    def identify_key(self, token: tokens.Token) -> Identity:
        """As `identify`, of keys only: a session does not begin another one."""
        found, row = self.identify(token), self._row(token.id)
        if row is None or row["kind"] != "key":
            raise Refused("this is no key")
        return found

    def identity(self, id: str) -> Identity:
        """Whose key or session has this id; as `identify`, for a caller that has checked a signature instead."""
        row = self._row(id)
        if row is None or row["kind"] == "link":
            raise Refused("this key is not known here")
        return self._valid(row)

    def list_keys(self) -> list[Key]:
        """All keys, also those that are not valid any more, oldest first."""
        with self._lock:
            rows = self._db.execute("select * from tokens where kind = 'key' order by made_at, rowid").fetchall()
        fields = ("id", "name", "role", "made_at", "expires_at", "revoked_at", "used_at")
        return [Key(prefixes=_prefixes(row), **{name: row[name] for name in fields}) for row in rows]

    def revoke(self, id: str, record: Callable[[], object] = lambda: None) -> bool:
        """End a key or session, and the sessions that were begun with it. False if there is no valid one of that id."""
        with self._write() as db:
            ended = db.execute(
                "update tokens set revoked_at = ? where id = ? and revoked_at is null and kind != 'link'",
                [time.time(), id],
            )
            if ended.rowcount:
                record()
            return bool(ended.rowcount)

    def end_session(self, id: str, record: Callable[[], object] = lambda: None) -> bool:
        """End a session. False if there is no valid one of that id."""
        ended = "update tokens set revoked_at = ? where id = ? and revoked_at is null and kind = 'session'"
        with self._write() as db:
            has_ended = bool(db.execute(ended, [time.time(), id]).rowcount)
            if has_ended:
                record()
        return has_ended

    # ---- users

    def add_user(
        self,
        name: str,
        password_hash: str,
        role: Role,
        prefixes: tuple[str, ...] | None = None,
        record: Callable[[], object] = lambda: None,
    ) -> None:
        """Store a user, or give one another password, role and prefixes, which ends the sessions there are."""
        with self._write() as db:
            db.execute("delete from tokens where holder = ?", [f"user:{name}"])
            values = [name, password_hash, role, json.dumps(prefixes), time.time()]
            db.execute("insert or replace into users values (?, ?, ?, ?, ?)", values)
            record()

    def password_of(self, name: str) -> str | None:
        """The hash of a user's password; None: no such user."""
        with self._lock:
            row = self._db.execute("select password from users where name = ?", [name]).fetchone()
        return row["password"] if row else None

    def users(self) -> list[User]:
        """All users, by name."""
        with self._lock:
            rows = self._db.execute(
                "select *, (select max(coalesce(used_at, made_at)) from tokens where holder = 'user:' || users.name) "
                "used_at from users order by name"
            ).fetchall()
        return [User(row["name"], row["role"], _prefixes(row), row["made_at"], row["used_at"]) for row in rows]

    def remove_user(self, name: str, record: Callable[[], object] = lambda: None) -> bool:
        """Delete a user; its sessions end. False if there is none of that name."""
        with self._write() as db:
            db.execute("delete from tokens where holder = ?", [f"user:{name}"])
            removed = bool(db.execute("delete from users where name = ?", [name]).rowcount)
            if removed:
                record()
        return removed

    # ---- rows

    def _add_session(
        self, who: Identity, holder: str, token: tokens.Token | None = None, expires_at: float | None = None
    ) -> tokens.Token:
        with self._write() as db:
            db.execute("delete from tokens where kind != 'key' and expires_at < ?", [time.time() - KEPT_S])
        ends = expires_at or time.time() + SESSION_S
        return self._add("session", who.name, who.role, who.prefixes, holder, ends, token)

    def _add(
        self,
        kind: Kind,
        name: str,
        role: Role,
        prefixes: tuple[str, ...] | None,
        holder: str | None,
        expires_at: float | None,
        token: tokens.Token | None = None,
        record: Callable[[tokens.Token], object] = lambda token: None,
    ) -> tokens.Token:
        token = token or tokens.new()
        values = [token.id, kind, token.hash, name, role, json.dumps(prefixes), holder, time.time(), expires_at]
        with self._write() as db:
            db.execute("insert into tokens values (?, ?, ?, ?, ?, ?, ?, ?, ?, null, null)", values)
            record(token)
        return token

    def _row(self, id: str) -> Any:
        with self._lock:
            return self._db.execute("select * from tokens where id = ?", [id]).fetchone()

    def _valid(self, row: Any) -> Identity:
        """The identity of a row that is neither revoked nor expired, with the present rights of its holder."""
        what = "session" if row["kind"] == "session" else "key"
        if row["revoked_at"] is not None:
            raise Refused(f"this {what} was revoked")
        if row["expires_at"] is not None and row["expires_at"] < time.time():
            raise Refused(f"this {what} has expired")
        kind, _, rest = (row["holder"] or "").partition(":")
        if kind in ("", "oidc"):
            holder = f"oidc:{rest.partition(':')[2]}" if kind else ""  # without the digest
            return Identity(row["name"], row["role"], _prefixes(row), row["id"], holder)
        known = self._holder(row["holder"])
        return Identity(known.name, known.role, known.prefixes, row["id"], holder=row["holder"])

    def _holder(self, holder: str) -> Identity:
        kind, _, name = holder.partition(":")
        if kind == "key":
            return self.identity(name)
        with self._lock:
            row = self._db.execute("select * from users where name = ?", [name]).fetchone()
        if row is None:
            raise Refused("this user was removed")
        return Identity(row["name"], row["role"], _prefixes(row))


def _prefixes(row: Any) -> tuple[str, ...] | None:
    stored = json.loads(row["prefixes"])
    return None if stored is None else tuple(stored)
