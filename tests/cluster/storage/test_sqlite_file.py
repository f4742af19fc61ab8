"""SQLite files of the head's state: who may read them, and what a connection sees of other processes."""

import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cluster.access.store import AccessStore
from cluster.cases.store import CaseStore
from cluster.storage.sqlite_file import SqliteFile, create_file

SCHEMA = "create table if not exists told(word text)"
ADD_A_KEY = "import sys, pathlib; from cluster.access.store import AccessStore as A; s = A(pathlib.Path(sys.argv[1])); "
ADD_A_KEY += "s.add_key(sys.argv[2], 'viewer'); s.close()"


class Told(SqliteFile):
    """A file with one table."""

    def words(self) -> list[str]:
        """The words of the table."""
        return [row["word"] for row in self._db.execute("select word from told")]

    def tell(self, word: str) -> None:
        """Add a word, which must not be empty."""
        with self._write() as db:
            db.execute("insert into told values (?)", [word])
            if not word:
                raise ValueError("an empty word")


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.sqlite"
    with closing(Told(file, SCHEMA)) as told:
        told.tell("word")
        assert {stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir()} == {0o600}


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with closing(Told(tmp_path / "state.sqlite", SCHEMA)) as told:
        with pytest.raises(ValueError, match="an empty word"):
            told.tell("")
        assert told.words() == []


@pytest.mark.parametrize("again", [CaseStore, AccessStore, create_file], ids=lambda again: again.__name__)
def test_a_connection_sees_what_other_processes_write_after_its_process_opened_the_file_again(
    tmp_path: Path, again: Callable[[Path], object]
) -> None:
    file = tmp_path / "access.sqlite"
    with closing(AccessStore(file)) as first:
        opened = again(file)
        for name in ("first", "second", "third"):  # each process closes the file, the last one of it if it sees no lock
            subprocess.run([sys.executable, "-c", ADD_A_KEY, str(file), name], check=True)
            assert name in [key.name for key in first.list_keys()]
        assert file.with_name("access.sqlite-wal").exists()
        if isinstance(opened, SqliteFile):
            opened.close()
