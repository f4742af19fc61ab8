"""The decisions on faces, with their history: state_dir/faces.sqlite, kept as the decisions on files are.

The `asset` of an entry is the id of a face (cluster/people/face.py), `uri` and `parent` are of its file. The label says
whose face it is, the tags whose it is not, the note by which correction. The entries of one correction have one time.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from cluster.access.identity import Identity
from cluster.decisions.api_types import NewDecision
from cluster.decisions.entries import MediaFile
from cluster.decisions.store import DecisionStore
from cluster.people.api_types import Correction
from cluster.records import iso_time

FILE = "faces.sqlite"  # in state_dir

# Labels that are no names: a name does not begin with such a sign.
NO_FACE = "#no face"
ANYBODYS = "#anybody's"  # it may belong to any group but those of its tags
_UNNAMED = "#"  # the first sign of these, and of the label of a person without a name


def unnamed() -> str:
    """A new label for a person without a name."""
    return f"{_UNNAMED}{token_hex(6)}"


def is_name(label: str) -> bool:
    """Whether a label is the name of a person."""
    return not label.startswith(_UNNAMED)


@dataclass(frozen=True, slots=True)
class FaceEntry:
    """The latest entry on a face. `n`: its number in the store, higher than those of all earlier ones."""

    n: int
    version: int  # which the next write names
    label: str | None  # None: nothing is decided, as it was taken back
    tags: tuple[str, ...]
    who: str


@dataclass(frozen=True, slots=True)
class FaceChanged:
    """A correction is not stored, as somebody else was faster; `who`: the name, "" if nobody knows."""

    who: str


class FaceStore(DecisionStore):
    """The file. Methods may be called from several threads, and by several processes at once."""

    def __init__(self, path: Path | Literal[":memory:"]) -> None:
        super().__init__(path)
        self._read: dict[str, FaceEntry] = {}  # the latest entries up to number _read_to
        self._read_to = 0

    def latest(self) -> Mapping[str, FaceEntry]:
        """The latest entry of each face that was ever decided on, by the face's id."""
        with self._lock:
            query = "select asset, n, version, label, tags, who from decisions where n > ? order by n"
            rows = self._db.execute(query, [self._read_to]).fetchall()
            new = {
                row["asset"]: FaceEntry(
                    row["n"], row["version"], row["label"], tuple(json.loads(row["tags"])), row["who"]
                )
                for row in rows
            }
            if new:  # another dict: the former one may be in use in another thread
                self._read, self._read_to = {**self._read, **new}, rows[-1]["n"]
            return self._read

    def faces_of(self, name: str) -> set[str]:
        """The ids of the faces that have this name now."""
        return {id for id, entry in self.latest().items() if entry.label == name}

    def files_of(self, name: str) -> list[tuple[str, str | None]]:
        """URI and container of the files in which a face has, or had, this name."""
        with self._lock:
            rows = self._db.execute("select distinct uri, parent from decisions where label = ?", [name]).fetchall()
        return [(row["uri"], row["parent"]) for row in rows]

    def correct(
        self,
        new: Sequence[tuple[MediaFile, NewDecision]],
        who: Identity,
        record: Callable[[int], object] = lambda correction: None,
    ) -> int | FaceChanged:
        """Append a decision on each of these faces, or, if the version of one is not that of its latest entry, none.

        Returns the number of the last entry, by which the correction is known. `new` is not empty. `record` is called
        with this number before anything is committed. If it raises, nothing is stored.
        """
        at = time.time()
        with self._write() as db:
            for file, decision in new:
                before = self._latest(file.asset)
                if decision.version != (before["version"] if before else 0):
                    return FaceChanged(before["who"] if before else "")
                values: dict[str, Any] = {"label": decision.label, "note": decision.note, "undo": 0, "at": at}
                values |= {"tags": json.dumps(decision.tags, ensure_ascii=False), "models": json.dumps({**file.models})}
                values |= {"uri": file.uri, "parent": file.parent, "stands": decision.version + 1}
                values |= {"below": before["stands"] if before else 0}
                self._append(db, file.asset, decision.version, who, values)
            correction = int(db.execute("select max(n) from decisions").fetchone()[0])
            record(correction)
            return correction

    def take_back(
        self, correction: int, who: Identity, record: Callable[[], object] = lambda: None
    ) -> int | FaceChanged | None:
        """Restore what held before a correction, on all its faces; or on none, if it does not hold on one of them.

        Returns the number of faces; None if there is no such correction, or `who` does not see all its files.
        `record`: as of `correct`.
        """
        at = time.time()
        with self._write() as db:
            entries = self._entries(correction)
            if not entries or not all(who.sees(entry["uri"], entry["parent"]) for entry in entries):
                return None
            present = {entry["asset"]: self._latest(entry["asset"]) for entry in entries}
            for entry in entries:
                if present[entry["asset"]]["stands"] != entry["version"]:
                    return FaceChanged(present[entry["asset"]]["who"])
            for entry in entries:
                values: dict[str, Any] = {"label": None, "tags": "[]", "note": "", "models": "{}"}
                if entry["below"]:
                    restored = self._entry(entry["asset"], entry["below"])
                    values = {name: restored[name] for name in values}
                values |= {"uri": entry["uri"], "parent": entry["parent"], "undo": 1, "at": at}
                values |= {"stands": entry["below"], "below": 0}
                self._append(db, entry["asset"], present[entry["asset"]]["version"], who, values)
            record()
        return len(entries)

    def last(self, who: Identity) -> Correction | None:
        """The latest correction of this owner that holds on a face; None if it cannot be taken back."""
        holding = """select held.n from decisions held join decisions latest using (asset)
            where held.owner = ? and not held.undo and latest.latest and latest.stands = held.version
            order by held.n desc limit 1"""
        with self._lock:
            found = self._db.execute(holding, [who.owner]).fetchone()
            entries = self._whole(found["n"]) if found else []
            holds = [self._latest(entry["asset"])["stands"] == entry["version"] for entry in entries]
        if not entries or not all(holds) or not all(who.sees(entry["uri"], entry["parent"]) for entry in entries):
            return None
        newest = entries[-1]
        return Correction(
            correction=newest["n"],
            what=newest["note"],
            faces=len(entries),
            who=newest["who"],
            at=iso_time(newest["at"]),
        )

    # ---- erasure

    def erase(self, is_erased: Callable[[str], bool], names_erased: Callable[[str], bool]) -> int:
        """Delete the histories of faces in erased files, by URI, and of those that ever had an erased name; and tags.

        Returns the number of entries changed. No byte of them is left in the file. No other process may have it open.
        """

        def kept(tags: str) -> str:
            return json.dumps([tag for tag in json.loads(tags) if not names_erased(tag)], ensure_ascii=False)

        with self._erase() as db:
            for name, function in (("is_erased", is_erased), ("names_erased", names_erased), ("kept", kept)):
                db.create_function(name, 1, function)
            named = "select asset from decisions where names_erased(coalesce(label, ''))"
            changed = db.execute(f"delete from decisions where is_erased(uri) or asset in ({named})").rowcount
            changed += db.execute("update decisions set tags = kept(tags) where tags <> kept(tags)").rowcount
        with self._lock:
            self._read, self._read_to = {}, 0
        return changed

    # ---- rows

    def _entries(self, correction: int) -> list[Any]:
        """The entries of a correction, by the number of its last one; none if it is no correction."""
        entries = self._whole(correction)
        return entries if entries and entries[-1]["n"] == correction else []

    def _whole(self, n: int) -> list[Any]:
        """The entries of the correction to which entry number n belongs, in order; none if it belongs to none."""
        entry = next(iter(self._rows("where n = ? and not undo", [n])), None)
        return self._rows("where at = ? and owner = ? order by n", [entry["at"], entry["owner"]]) if entry else []


def faces_named(state_dir: Path, name: str) -> set[str]:
    """The ids of the faces that reviewers have given this name, by the file on this machine; none if it is not here."""
    if not (state_dir / FILE).exists():
        return set()
    store = FaceStore(state_dir / FILE)
    try:
        return store.faces_of(name)
    finally:
        store.close()
