"""What each person chose to see of explicit media, in the SQLite file of the keys and users."""

import sqlite3
from pathlib import Path

from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.exposure.exposure import Exposure
from cluster.storage.sqlite_file import SqliteFile

# whoever gets the name of a removed user later begins with the organisation's settings
_SCHEMA = """create table if not exists exposure(owner text primary key, chosen text);
    create trigger if not exists exposure_of_removed_user after delete on users begin
        delete from exposure where owner = 'user:' || old.name;
    end"""


class ExposureStore(SqliteFile):
    """The table of the choices. Methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        """`path`: of the file, which AccessStore has made."""
        try:
            super().__init__(path, _SCHEMA)
        except sqlite3.Error as error:
            raise SettingsError(
                f"the viewing settings in {path} do not open: {error}. Restore the file from a backup."
            ) from error

    def get(self, owner: str) -> Exposure | None:
        """What the owner of a key or session chose, see Identity.owner; None: nothing."""
        with self._lock:
            row = self._db.execute("select chosen from exposure where owner = ?", [owner]).fetchone()
        try:
            return Exposure.model_validate_json(row["chosen"]) if row else None
        except ValidationError:  # another version has written it
            return None

    def set(self, owner: str, chosen: Exposure) -> None:
        """Store what the owner of a key or session chose."""
        with self._write() as db:
            db.execute("insert or replace into exposure values (?, ?)", [owner, chosen.model_dump_json()])
