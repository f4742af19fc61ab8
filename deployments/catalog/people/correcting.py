"""What a correction of groups decides about faces: pure functions from groups to decisions.

A correction of a group without a label gives it one, so that what it leaves there stays together. Where a label takes
the place of another, faces that were said not to be that person are not this one either.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from cluster.decisions.api_types import MOST_TAGS, NewDecision
from cluster.decisions.entries import MediaFile
from cluster.people.store import ANYBODYS, NO_FACE, FaceEntry, unnamed
from deployments.catalog.people.faces import SeenFace, SeenFaces
from deployments.catalog.people.grouping import FaceGroup, Grouping

Change = tuple[str, tuple[str, ...]]  # the label that a face gets, and the labels whose it is not
Changes = dict[int, Change]  # by face


def named(grouping: Grouping, group: FaceGroup, name: str) -> Changes:
    """All faces of the group have this name."""
    return _all(grouping, group.members, name) | _also_not(grouping, group, name)


def merged(grouping: Grouping, groups: Sequence[FaceGroup]) -> Changes:
    """The faces of all these groups are one person's: with the name of the first that has one."""
    names = [group.name for group in groups if group.name]
    label = next(iter([*names, *(group.label for group in groups if group.label)]), unnamed())
    changes: Changes = {}
    for group in groups:
        changes |= _also_not(grouping, group, label)
    return changes | _all(grouping, [n for group in groups for n in group.members], label)


def split(grouping: Grouping, group: FaceGroup, chosen: Sequence[int]) -> Changes:
    """The chosen faces are another person's."""
    left = [n for n in group.members if n not in chosen]
    return _all(grouping, left, group.label or unnamed()) | _all(grouping, chosen, unnamed())


def rejected(grouping: Grouping, group: FaceGroup, chosen: Sequence[int], reason: Literal["person", "face"]) -> Changes:
    """The chosen faces are not this person's, or no faces."""
    label = group.label or unnamed()
    changes: Changes = {}
    if group.label is None:
        changes = _all(grouping, [n for n in group.members if n not in chosen], label)
    for n in chosen:
        tags = _tags(grouping, n)
        changes[n] = (NO_FACE, tags) if reason == "face" else (ANYBODYS, _with(tags, label))
    return changes


def decisions(seen: SeenFaces, grouping: Grouping, changes: Changes, what: str) -> list[tuple[MediaFile, NewDecision]]:
    """The decisions to store for these changes; none for faces that have them already."""
    new = []
    for n, (label, tags) in changes.items():
        id, entry = grouping.decided.get(n, (seen.faces[n].id, None))
        if entry is None or (entry.label, entry.tags) != (label, tags):
            version = entry.version if entry else 0
            new.append((_file(id, seen.faces[n]), NewDecision(version=version, label=label, tags=tags, note=what)))
    return new


def _all(grouping: Grouping, members: Iterable[int], label: str) -> Changes:
    return {n: (label, tuple(tag for tag in _tags(grouping, n) if tag != label)) for n in members}


def _also_not(grouping: Grouping, group: FaceGroup, label: str) -> Changes:
    """The faces that are not this group's, once its label is replaced by another one."""
    if group.label in (None, label):
        return {}
    decided: Mapping[int, tuple[str, FaceEntry]] = grouping.decided
    return {
        n: (entry.label or ANYBODYS, _with(entry.tags, label))
        for n, (_, entry) in decided.items()
        if group.label in entry.tags and entry.label != label
    }


def _tags(grouping: Grouping, n: int) -> tuple[str, ...]:
    return grouping.decided[n][1].tags if n in grouping.decided else ()


def _with(tags: tuple[str, ...], label: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*tags, label]))[-MOST_TAGS:]


def _file(id: str, face: SeenFace) -> MediaFile:
    return MediaFile(id, face.uri, face.parent, {"face": face.model})
