"""The decisions of reviewers, with their history, and the files that are locked for one: state_dir/decisions.sqlite."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from cluster.access.identity import Identity, Prefixes
from cluster.decisions.api_types import MOST_NUMBER, Decision, DecisionQuery, NewDecision
from cluster.decisions.entries import (
    PRESENT,
    SCHEMA,
    Conflict,
    MediaFile,
    Opinion,
    as_decision,
    standing,
    within,
)
from cluster.errors import SettingsError
from cluster.storage.sqlite_file import SqliteFile

FILE = "decisions.sqlite"  # in state_dir
REDACTED = "[erased]"  # in place of a note that named an erased file or person


class DecisionStore(SqliteFile):
    """The file, made with mode 0600. Methods may be called from several threads, and by several processes at once."""

    def __init__(self, path: Path | Literal[":memory:"]) -> None:
        try:
            super().__init__(path, SCHEMA)
        except OSError as error:
            raise SettingsError(
                f"the file of decisions {path} does not open: {error}. Act as the user who started Raysift."
            ) from error
        except sqlite3.Error as error:
            raise SettingsError(
                f"the file of decisions {path} does not open: {error}. Put back its backup, or move it away to begin a "
                "new one without the decisions."
            ) from error

    # ---- writing

    def decide(
        self,
        new: Sequence[tuple[MediaFile, NewDecision]],
        who: Identity,
        record: Callable[[Sequence[Decision | Conflict]], object] = lambda outcomes: None,
    ) -> list[Decision | Conflict]:
        """Append a decision on each of these files, and unlock it.

        A Conflict, and nothing written, for a file of which the version is not the one that the decision names.
        `record` is called with the outcomes before they are committed. If it raises, none of them is stored.
        """
        outcomes: list[Decision | Conflict] = []
        with self._write() as db:
            for file, decision in new:
                before = self._latest(file.asset)
                if conflict := _conflict(before, decision.version):
                    outcomes.append(conflict)
                    continue
                values: dict[str, Any] = {"label": decision.label, "tags": _text(decision.tags), "note": decision.note}
                values |= {"models": json.dumps(dict(file.models)), "undo": 0, "stands": decision.version + 1}
                values |= {"uri": file.uri, "parent": file.parent, "below": before["stands"] if before else 0}
                self._append(db, file.asset, decision.version, who, values)
                db.execute("delete from locks where asset = ?", [file.asset])
                outcomes.append(as_decision(self._latest(file.asset)))
            record(outcomes)
        return outcomes

    def undo(
        self,
        asset: str,
        version: int,
        who: Identity,
        record: Callable[[Decision], object] = lambda restored: None,
    ) -> Decision | Conflict | None:
        """Append an entry that restores what held before the present decision; None if there is no decision.

        A Conflict if `version` is not the present one. `record`: as of `decide`.
        """
        with self._write() as db:
            before = self._latest(asset)
            if conflict := _conflict(before, version):
                return conflict
            if before is None or not before["stands"]:
                return None
            stands = self._entry(asset, before["stands"])["below"]
            values: dict[str, Any] = {"label": None, "tags": "[]", "note": "", "models": "{}"}
            if stands:
                restored = self._entry(asset, stands)
                values = {name: restored[name] for name in values}
            values |= {"uri": before["uri"], "parent": before["parent"], "undo": 1, "stands": stands, "below": 0}
            self._append(db, asset, version, who, values)
            outcome = as_decision(self._latest(asset))
            record(outcome)
            return outcome

    def _append(self, db: sqlite3.Connection, asset: str, version: int, who: Identity, values: dict[str, Any]) -> None:
        row = {"asset": asset, "version": version + 1, "at": time.time(), "latest": 1, **values}
        row |= {"who": who.name, "owner": who.owner, "subject": who.subject}
        db.execute("update decisions set latest = 0 where asset = ? and latest", [asset])
        db.execute(f"insert into decisions({', '.join(row)}) values ({', '.join('?' * len(row))})", [*row.values()])

    # ---- reading

    def assets(self) -> list[str]:
        """All files with a history of decisions."""
        with self._lock:
            return [asset for (asset,) in self._db.execute("select distinct asset from decisions")]

    def history(self, asset: str) -> list[Decision]:
        """All decisions on a file, newest first."""
        return [as_decision(row) for row in self._rows("where asset = ? order by version desc", [asset])]

    def histories(self, assets: Iterable[str]) -> dict[str, list[Decision]]:
        """All decisions on each of these files, newest first, by asset; without those that have none."""
        which = "where asset in (select value from json_each(?)) order by version desc"
        of_files: dict[str, list[Decision]] = {}
        for row in self._rows(which, [json.dumps(list(assets))]):
            of_files.setdefault(row["asset"], []).append(as_decision(row))
        return of_files

    def present(self, assets: Iterable[str]) -> dict[str, Decision]:
        """The present decisions on these files, by asset; without those that have none, or one that was taken back."""
        rows = self._rows("where asset in (select value from json_each(?))", [json.dumps(list(assets))], PRESENT)
        return {row["asset"]: as_decision(row) for row in rows}

    def labels(self, assets: Iterable[str]) -> dict[str, tuple[str, list[str]]]:
        """Label and tags of the present decisions on these files: less than `present` reads, for many of them."""
        query = f"select asset, label, tags from {PRESENT} where asset in (select value from json_each(?))"
        with self._lock:
            rows = self._db.execute(query, [json.dumps(list(assets))]).fetchall()
        return {row["asset"]: (row["label"], json.loads(row["tags"])) for row in rows}

    def opinions(self, assets: Iterable[str] | None = None) -> dict[str, list[Opinion]]:
        """What each reviewer has decided last on each of these files (None: on all), the first reviewer's first."""
        which, values = "", list[str]()
        if assets is not None:
            which, values = "where asset in (select value from json_each(?))", [json.dumps(list(assets))]
        query = (
            f"select asset, version, owner, who, label, stands, below from decisions {which} order by asset, version"
        )
        of_files: dict[str, dict[int, Any]] = {}
        with self._lock:
            for row in self._db.execute(query, values):
                of_files.setdefault(row["asset"], {})[row["version"]] = row
        return {asset: standing(entries) for asset, entries in of_files.items()}

    def page(self, query: DecisionQuery, prefixes: Prefixes = None) -> tuple[list[Decision], int | None]:
        """Decisions, newest first, on the files under the prefixes; and `after` of the next page."""
        under, of_under = within(prefixes)
        parts, values = ["n < ?", under], [query.after or MOST_NUMBER, *of_under]
        for column, wanted in (("label", query.label), ("who", query.who)):
            if wanted:
                parts.append(f"{column} in (select value from json_each(?))")
                values.append(json.dumps(wanted))
        if query.tag:
            parts.append("exists (select 1 from json_each(tags) t where t.value in (select value from json_each(?)))")
            values.append(json.dumps(query.tag))
        which = f"where {' and '.join(parts)} order by n desc limit ?"
        rows = self._rows(which, [*values, query.size + 1], "decisions" if query.history else PRESENT)
        shown = rows[: query.size]
        return [as_decision(row) for row in shown], shown[-1]["n"] if len(rows) > len(shown) else None

    def decided_since(self, since: float, owner: str, prefixes: Prefixes = None) -> tuple[int, int]:
        """How many decisions were made since then, in seconds since 1970: by everybody, and by this owner."""
        under, values = within(prefixes)
        query = f"select count(*), coalesce(sum(owner = ?), 0) from decisions where at >= ? and not undo and {under}"
        with self._lock:
            everybody, own = self._db.execute(query, [owner, since, *values]).fetchone()
        return everybody, own

    # ---- locks

    def locked(self, owner: str) -> set[str]:
        """The files that are locked for others than this owner."""
        with self._lock:
            query = "select asset from locks where owner <> ? and expires_at > ?"
            return {asset for (asset,) in self._db.execute(query, [owner, time.time()])}

    def lock_one(self, assets: Sequence[str], owner: str, lock_s: float) -> tuple[str, float] | None:
        """Lock one of these files for an owner: the one that is locked for it already, else the first free one.

        Each owner has one file at most. Returns the file and when the lock expires, in seconds since 1970; None if all
        are locked for others.
        """
        now = time.time()
        with self._write() as db:
            db.execute("delete from locks where expires_at <= ?", [now])
            locked = {row["asset"]: row["owner"] for row in db.execute("select asset, owner from locks")}
            free = [asset for asset in assets if locked.get(asset, owner) == owner]
            if not free:
                return None
            asset = next((asset for asset in free if asset in locked), free[0])
            db.execute("delete from locks where owner = ?", [owner])
            db.execute("insert into locks values (?, ?, ?)", [asset, owner, now + lock_s])
        return asset, now + lock_s

    def unlock(self, asset: str, owner: str) -> None:
        """End the lock that this owner has on a file, if it has it."""
        with self._write() as db:
            db.execute("delete from locks where asset = ? and owner = ?", [asset, owner])

    # ---- erasure

    def erase(self, is_erased: Callable[[str], bool], names_erased: Callable[[str], bool]) -> int:
        """Delete the decisions on erased files, by URI; empty the tags and replace the notes that name what is erased.

        Returns the number of entries changed. No byte of them is left in the file. No other process may have it open.
        """
        with self._erase() as db:
            db.create_function("is_erased", 1, is_erased)
            db.create_function("names_erased", 1, names_erased)
            changed = db.execute("delete from decisions where is_erased(uri)").rowcount
            which = "names_erased(note) or names_erased(tags)"
            redact = f"update decisions set tags = '[]', note = ? where {which}"
            changed += db.execute(redact, [REDACTED]).rowcount
            db.execute("delete from locks")
        return changed

    # ---- rows

    def _rows(self, which: str, values: Sequence[Any], table: str = "decisions") -> list[Any]:
        with self._lock:
            return self._db.execute(f"select * from {table} {which}", values).fetchall()

    def _latest(self, asset: str) -> Any:
        return next(iter(self._rows("where asset = ? and latest", [asset])), None)

    def _entry(self, asset: str, version: int) -> Any:
        return self._rows("where asset = ? and version = ?", [asset, version])[0]


def _text(tags: Sequence[str]) -> str:
    """Tags as JSON in which an erasure finds names letter by letter."""
    return json.dumps(tags, ensure_ascii=False)


def _conflict(before: Any, version: int) -> Conflict | None:
    """Why a writer that saw this version may not write after this entry, if so."""
    if version == (before["version"] if before else 0):
        return None
    return Conflict(as_decision(before) if before else None)
