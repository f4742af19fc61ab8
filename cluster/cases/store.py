"""The cases, in the SQLite file of the keys and users, so that one file holds what cannot be rebuilt."""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.cases.case import Case, joined
from cluster.errors import SettingsError
from cluster.storage.sqlite_file import SqliteFile

_SCHEMA = """create table if not exists cases(
    name text primary key, title text, folders text, made_by text, made_at real, closed_at real)"""


class CaseStore(SqliteFile):
    """The table of the cases. Methods may be called from several threads, and by several processes at once.

    `record` is called before a change is committed, with the case as it is then. If it raises, nothing is changed.
    """

    def __init__(self, path: Path) -> None:
        """`path`: of the file, which AccessStore has made."""
        try:
            super().__init__(path, _SCHEMA)
        except sqlite3.Error as error:
            raise SettingsError(f"the cases in {path} do not open: {error}. Restore the file from a backup.") from error

    def all(self) -> list[Case]:
        """All cases, by name."""
        with self._lock:
            return [_case(row) for row in self._db.execute("select * from cases order by name")]

    def get(self, name: str) -> Case | None:
        """The case of that name; None if there is none."""
        with self._lock:
            row = self._db.execute("select * from cases where name = ?", [name]).fetchone()
        return _case(row) if row else None

    def add(
        self,
        name: str,
        title: str,
        folders: Sequence[str],
        made_by: str,
        record: Callable[[Case], object] = lambda case: None,
    ) -> Case | None:
        """Store a new case; None if there is one of that name already."""
        case = Case(name, title, joined((), folders), made_by, time.time())
        with self._write() as db:
            values = [name, title, json.dumps(case.folders), made_by, case.made_at]
            added = db.execute("insert or ignore into cases values (?, ?, ?, ?, ?, null)", values).rowcount
            if added:
                record(case)
        return case if added else None

    def change(
        self,
        name: str,
        title: str | None = None,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        closed: bool | None = None,
        record: Callable[[Case], object] = lambda case: None,
    ) -> Case | None:
        """Change a case and return it; None if there is none of that name. Folders are removed before others are added.

        `title` None and `closed` None: as before. A case that is closed again keeps the time of the first closing.
        """
        with self._write() as db:
            row = db.execute("select * from cases where name = ?", [name]).fetchone()
            if row is None:
                return None
            before = _case(row)
            folders = joined([folder for folder in before.folders if folder not in remove], add)
            closed_at = before.closed_at if closed is None else (before.closed_at or time.time()) if closed else None
            after = Case(
                name, before.title if title is None else title, folders, before.made_by, before.made_at, closed_at
            )
            values = [after.title, json.dumps(folders), closed_at, name]
            db.execute("update cases set title = ?, folders = ?, closed_at = ? where name = ?", values)
            record(after)
        return after

    def remove(self, name: str, record: Callable[[], object] = lambda: None) -> bool:
        """Delete a case; its files and results stay. False if there is none of that name."""
        with self._write() as db:
            removed = bool(db.execute("delete from cases where name = ?", [name]).rowcount)
            if removed:
                record()
        return removed

    def erase(self, is_erased: Callable[[str], bool], redacted: Callable[[str], str]) -> int:
        """Take erased files and folders, by URI, out of the cases, and what is erased out of their titles.

        Returns the number of cases changed. No byte of it is left in the file. No other process may have it open.
        """
        changed = 0
        with self._erase() as db:
            for case in self.all():
                folders = [folder for folder in case.folders if not is_erased(folder)]
                title = redacted(case.title)
                if len(folders) < len(case.folders) or title != case.title:
                    values = [title, json.dumps(folders), case.name]
                    db.execute("update cases set title = ?, folders = ? where name = ?", values)
                    changed += 1
        return changed


def _case(row: Any) -> Case:
    folders = tuple(json.loads(row["folders"]))
    return Case(row["name"], row["title"], folders, row["made_by"], row["made_at"], row["closed_at"])
