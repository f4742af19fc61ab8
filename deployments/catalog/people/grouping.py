"""Groups of faces: the clusters of their vectors, changed as reviewers have decided."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.people.face import SAME_OVERLAP, Place, place_of
from cluster.people.store import ANYBODYS, NO_FACE, FaceEntry, is_name
from deployments.catalog.people.components import ALONE, Components
from deployments.catalog.people.faces import SeenFaces

Key = str | int  # of a group: the label of its faces, or the number of their cluster

MOST_DISTANCES = 4_000_000  # in memory at a time, as 64-bit numbers


@dataclass(frozen=True, slots=True)
class FaceGroup:
    """The faces of probably one person, as indices into the faces that are seen, in their order."""

    members: list[int]
    label: str | None  # None: nobody has corrected it, and it has no hit of an enrolled person
    version: int

    @property
    def name(self) -> str | None:
        """The person's name, if it has one."""
        return self.label if self.label and is_name(self.label) else None


@dataclass(frozen=True, slots=True)
class Grouping:
    """All groups, the largest first, and how many faces are in none: like too few others; marked as no face."""

    groups: list[FaceGroup]
    group_of: dict[int, FaceGroup]  # by face
    decided: dict[int, tuple[str, FaceEntry]]  # face -> the id under which its decision is stored, and the decision
    alone: int
    no_faces: int


def grouped(seen: SeenFaces, components: Components, entries: Mapping[str, FaceEntry]) -> Grouping:
    """The groups of these faces.

    A face belongs to the person whom its decision names, else to the enrolled person who it is by its hit. All others
    belong to their cluster; where this has faces of such persons, to the person of the nearest of them whom their
    decision does not exclude.
    """
    decided = _decided(seen, entries)
    labels: list[str | None] = []
    for n, face in enumerate(seen.faces):
        label, tags = (decided[n][1].label, decided[n][1].tags) if n in decided else (None, ())
        if label is None or label == ANYBODYS:
            label = face.hit if face.hit is not None and face.hit not in tags else None
        labels.append(label)
    members: dict[Key, list[int]] = {}
    alone = 0
    for n, key in _keys(seen, components, labels, decided):
        if key is None:
            alone += 1
        else:
            members.setdefault(key, []).append(n)
    groups = [
        FaceGroup(sorted(of_key), key if isinstance(key, str) else None, _version(of_key, decided))
        for key, of_key in members.items()
    ]
    groups.sort(key=lambda group: (-len(group.members), group.members[0]))
    group_of = {n: group for group in groups for n in group.members}
    return Grouping(groups, group_of, decided, alone, sum(label == NO_FACE for label in labels))


def _keys(
    seen: SeenFaces,
    components: Components,
    labels: list[str | None],
    decided: Mapping[int, tuple[str, FaceEntry]],
) -> Iterable[tuple[int, Key | None]]:
    """Each face that is not marked as none, and the key of its group; None if it is in none."""
    clusters: dict[int, list[int]] = {}
    for n, (number, label) in enumerate(zip(components.tolist(), labels, strict=True)):
        if label == NO_FACE:
            continue
        if label is not None:
            yield n, label
        elif number == ALONE and seen.vectors[n] is not None:
            yield n, None
        if number != ALONE:
            clusters.setdefault(number, []).append(n)
    for number, cluster in clusters.items():
        free = [n for n in cluster if labels[n] is None]
        persons = {n: label for n in cluster if (label := labels[n]) is not None}
        if not persons:
            yield from ((n, number) for n in free)
            continue
        yield from zip(free, _nearest(seen, free, persons, decided), strict=True)


def _nearest(
    seen: SeenFaces,
    free: Sequence[int],
    persons: Mapping[int, str],
    decided: Mapping[int, tuple[str, FaceEntry]],
) -> Iterator[str | None]:
    """For each free face, the label of the nearest of `persons` (face -> label) that its decision does not exclude."""
    vectors = np.asarray([seen.vectors[n] for n in persons], np.float64)
    of_person, lengths = np.asarray([*persons.values()]), np.square(vectors).sum(axis=1)
    step = max(1, MOST_DISTANCES // len(vectors))
    for begin in range(0, len(free), step):
        part = free[begin : begin + step]
        # squares of the distances, less the square of the free face's own length, which does not change their order
        apart = lengths - 2 * np.asarray([seen.vectors[n] for n in part], np.float64) @ vectors.T
        for n, row in zip(part, apart, strict=True):
            excluded = decided[n][1].tags if n in decided else ()
            if excluded:
                row[np.isin(of_person, excluded)] = np.inf
            nearest = int(row.argmin())
            yield str(of_person[nearest]) if np.isfinite(row[nearest]) else None


def _decided(seen: SeenFaces, entries: Mapping[str, FaceEntry]) -> dict[int, tuple[str, FaceEntry]]:
    """The latest entry on each face: that of its id, else that of a face in the same frame with almost the same box."""
    decided = {n: (face.id, entries[face.id]) for n, face in enumerate(seen.faces) if face.id in entries}
    if not entries or len(decided) == len(entries):
        return decided
    lost: dict[tuple[str, int | None], list[tuple[str, Place]]] = {}
    known = {face.id for face in seen.faces}
    for id in entries:
        if id not in known and (place := place_of(id)) is not None:
            lost.setdefault(place.frame, []).append((id, place))
    for n, face in enumerate(seen.faces):
        if n in decided:
            continue
        place = face.place
        near = [(place.overlap(other), id) for id, other in lost.get(place.frame, [])]
        if near and max(near)[0] >= SAME_OVERLAP:
            decided[n] = max(near)[1], entries[max(near)[1]]
    return decided


def _version(members: Iterable[int], decided: Mapping[int, tuple[str, FaceEntry]]) -> int:
    return max((decided[n][1].n for n in members if n in decided), default=0)
