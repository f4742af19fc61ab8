"""Groups of faces as the answers of the API."""

from collections.abc import Iterable, Sequence

from cluster.api_types import Span
from cluster.people.api_types import MOST_GROUPS, Appearance, Face, Group
from deployments.catalog.people.faces import SeenFace, SeenFaces
from deployments.catalog.people.grouping import FaceGroup

SAMPLES = 4  # faces that stand for a group
GAP_S = 3.0  # between faces of a film that are one appearance, at most


def group(seen: SeenFaces, of: FaceGroup) -> Group:
    """A group with its samples: the largest faces, of different files as far as there are such."""
    faces = [seen.faces[n] for n in of.members]
    return Group(
        face=faces[0].id,
        version=of.version,
        name=of.name,
        enrolled=any(face.hit is not None for face in faces),
        faces=len(faces),
        files=len({face.file for face in faces}),
        samples=tuple(face(one) for one in _samples(faces)),
    )


def face(seen: SeenFace) -> Face:
    """A face as the API shows it."""
    left, top, right, bottom = (round(side, 4) for side in seen.box)
    return Face(
        id=seen.id,
        asset=seen.asset,
        uri=seen.uri,
        name=seen.name,
        kind=seen.kind,
        time_s=seen.time_s,
        box=(left, top, right, bottom),
        score=round(seen.score, 4),
    )


def appearances(faces: Iterable[SeenFace]) -> tuple[Appearance, ...]:
    """The files in which these faces are, those with the most faces first, at most MOST_GROUPS."""
    of_files: dict[int, list[SeenFace]] = {}
    for one in faces:
        of_files.setdefault(one.file, []).append(one)
    most = sorted(of_files.values(), key=lambda of_file: (-len(of_file), of_file[0].file))[:MOST_GROUPS]
    return tuple(
        Appearance(
            asset=of_file[0].asset,
            name=of_file[0].name,
            kind=of_file[0].kind,
            duration_s=of_file[0].duration_s,
            faces=len(of_file),
            spans=_spans([one.time_s for one in of_file if one.time_s is not None]),
        )
        for of_file in most
    )


def _spans(times: Sequence[float]) -> tuple[Span, ...]:
    """Times in seconds as spans, joined where at most GAP_S lie between them."""
    spans: list[Span] = []
    for time_s in sorted(times):
        if spans and time_s - spans[-1][1] <= GAP_S:
            spans[-1] = spans[-1][0], time_s
        else:
            spans.append((time_s, time_s))
    return tuple(spans)


def _samples(faces: Sequence[SeenFace]) -> list[SeenFace]:
    largest = sorted(faces, key=lambda one: -(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) * one.score)
    of_files: dict[int, SeenFace] = {}
    for one in largest:
        of_files.setdefault(one.file, one)
    first = [*of_files.values()][:SAMPLES]
    more = (one for one in largest if one not in first)
    return [*first, *(one for one, _ in zip(more, range(SAMPLES - len(first)), strict=False))]
