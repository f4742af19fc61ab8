"""A catalogue with the faces of three people, its vectors in memory, and the corrections that tests make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.people.api_types import (
    Chosen,
    Corrected,
    Group,
    GroupQuery,
    Merge,
    NewName,
    PeopleQuery,
    Reject,
    SeenGroup,
)
from cluster.records import Vector
from deployments.catalog.catalog import Catalog
from tests.support.fakes.vectors import MemoryVectors, of_person
from tests.support.stored import commit, found, row

ANN, BOB = Identity("Ann", "reviewer", id="a" * 12), Identity("Bob", "reviewer", id="b" * 12)
LIMITED = Identity("Eve", "reviewer", ("s3://b/case-2",), id="e" * 12)
DISTANCE = 0.5
BOX = (0.1, 0.1, 0.3, 0.4)


def face(person: int, number: int = 0, model: str = "m1", box: tuple[float, ...] = BOX, **more: Any):
    """A face of a person, who is a number; it has a vector."""
    vectors = (Vector("faces", of_person(person, number)),)
    return found("face", "face", 0.99, model, box=box, vectors=vectors, **more)


def uri(n: int) -> str:
    """Pictures 0 to 5 are of case 1, further ones of case 2."""
    return f"s3://b/case-{1 if n < 6 else 2}/{n}.jpg"


@dataclass
class People:
    """The catalogue, and short ways to ask and correct it."""

    catalog: Catalog
    vectors: MemoryVectors
    folder: Path
    files: int = 0

    def load(self, *rows: dict[str, Any]) -> None:
        """Scan further files."""
        self.files += 1
        self.vectors.add(rows)
        self.catalog.load(commit(self.folder, f"{self.files}.parquet", *rows))

    def page(self, who: Identity = ANN, **query: Any):
        """The groups that somebody sees."""
        while True:
            page = self.catalog.people(PeopleQuery(**query), DISTANCE, who.prefixes, who)
            if not page.pending:
                return page

    def groups(self, who: Identity = ANN) -> list[tuple[str | None, int]]:
        """Name and number of faces of each group."""
        return [(group.name, group.faces) for group in self.page(who).groups]

    def group(self, n: int, who: Identity = ANN) -> Group:
        """One of the groups, by its place."""
        return self.page(who).groups[n]

    def faces(self, group: Group, who: Identity = ANN):
        """The faces of a group."""
        found = self.catalog.face_group(group.face, GroupQuery(), DISTANCE, who.prefixes, who)
        assert found is not None
        return found.faces

    def name(self, group: Group, name: str, who: Identity = ANN):
        """Name a group."""
        new = NewName(version=group.version, name=name)
        return self.catalog.name_group(group.face, new, DISTANCE, who.prefixes, who)

    def merge(self, group: Group, other: Group, who: Identity = ANN):
        """Make two groups one."""
        seen = SeenGroup(face=other.face, version=other.version)
        merge = Merge(version=group.version, others=(seen,))
        return self.catalog.merge_groups(group.face, merge, DISTANCE, who.prefixes, who)

    def split(self, group: Group, *faces: str, who: Identity = ANN):
        """Split faces off a group."""
        chosen = Chosen(version=group.version, faces=faces)
        return self.catalog.split_group(group.face, chosen, DISTANCE, who.prefixes, who)

    def reject(self, group: Group, *faces: str, reason: Any = "person", who: Identity = ANN):
        """Take faces out of a group."""
        reject = Reject(version=group.version, faces=faces, reason=reason)
        return self.catalog.reject_faces(group.face, reject, DISTANCE, who.prefixes, who)

    def undo(self, corrected: Corrected, who: Identity = ANN):
        """Take back a correction."""
        return self.catalog.take_back(corrected.correction, who)


@pytest.fixture
def people(tmp_path):
    """Person 1 in pictures 0 to 3 and, of case 2, 6 to 8; person 2 in 3 to 5; person 3 in 0 only."""
    vectors = MemoryVectors()
    audit = Audit(tmp_path / "state")
    catalog = Catalog(":memory:", faces=tmp_path / "faces.sqlite", vectors=vectors, audit=audit)
    people = People(catalog, vectors, tmp_path / "out")
    beside = (0.6, 0.1, 0.8, 0.4)
    shown = {0: [face(1), face(3, box=beside)], 3: [face(1, 3), face(2, 0, box=beside)], 4: [face(2, 1)]}
    shown |= {5: [face(2, 2)]}
    rows = [row(uri(n), *shown.get(n, [face(1, n)]), unit=n) for n in range(9)]
    people.load(*rows)
    yield people
    catalog.close()
