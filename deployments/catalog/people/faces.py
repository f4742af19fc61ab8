"""The faces that the catalogue knows, with their vectors from the vector store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.access.identity import Prefixes
from cluster.people.api_types import FACE
from cluster.people.face import Place, face_id, place_of
from cluster.results.newest import Key
from cluster.settings import Settings
from cluster.vectors import Vectors
from deployments.catalog import queries as sql
from deployments.catalog.database import Database

FaceVector = npt.NDArray[np.float32]
# ids as of cluster.results.embeddings -> id -> the key of the answer that the vector is of, and the vector
FaceVectors = Callable[[Sequence[str]], Mapping[str, tuple[Key, FaceVector]]]

MOST_FACES = 300_000  # that are read; further ones are counted
STORE_DEADLINE_S = 20.0  # of one call to the vector store

# a detection of a face is followed by those of the names of enrolled people, in the same box
_FACES = """select f.asset as file, f.id, f.uri, f.parent, f.name, f.kind, f.duration_s, f.segments is not null as cut,
        d.segment, d.n, d.model, d.score, d.box, d.time_s, d.evidence, a.sequence, a.job, a.unit_id
    from detections d join files f using (asset)
        join answers a on (a.asset, a.content, a.segment, a.detector) = (d.asset, d.content, d.segment, d.detector)
    where d.detector = 'face' and d.label = '{face}' and d.box is not null and {visible}
    order by d.asset, d.segment, d.n limit {most}"""
_COUNT = """select count(*) as n from detections d join files f using (asset)
    where d.detector = 'face' and d.label = '{face}' and d.box is not null and {visible}"""
_NAMES = """select f.id, d.label, d.box, d.time_s from detections d join files f using (asset)
    where d.detector = 'face' and d.label <> '{face}' and d.box is not null and {visible}"""

_BOXES = """select d.box, d.time_s from detections d join files f using (asset)
    where f.id = ?::uuid and d.detector = 'face' and d.label = '{face}' and d.box is not null"""


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face in a file."""

    id: str
    file: int  # number of the file in the catalogue
    asset: str
    uri: str
    parent: str | None
    name: str  # of the file
    kind: Any
    duration_s: float | None
    time_s: float | None
    box: tuple[float, float, float, float]
    score: float
    model: str
    hit: str | None  # the name of the enrolled person who it is

    @property
    def place(self) -> Place:
        """Where it is, as its id says it."""
        place = place_of(self.id)
        assert place is not None  # it was made by face_id
        return place


@dataclass(frozen=True, slots=True)
class SeenFaces:
    """Faces in order of their files, and of each its vector, if there is one."""

    faces: list[SeenFace]
    vectors: list[FaceVector | None]
    left_out: int


class StoredVectors:
    """The vectors of faces in the vector store that the settings name. It connects at the first call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._vectors: Vectors | None = None

    def __call__(self, ids: Sequence[str]) -> Mapping[str, tuple[Key, FaceVector]]:
        """Those that are stored. VectorsDown if the vector store does not answer."""
        self._vectors = self._vectors or Vectors.configured(self._settings, STORE_DEADLINE_S)
        return self._vectors.records("faces", ids)


def seen_faces(database: Database, within: Prefixes, vectors: FaceVectors) -> SeenFaces:
    """The faces in the files under these prefixes. A vector of another answer than the catalogue's is not taken.

    VectorsDown if the vector store does not answer.
    """
    visible, values = sql.within(within)
    with database.snapshot() as ask:
        rows = ask(_FACES.format(face=FACE, visible=visible, most=MOST_FACES), values)
        total = ask(_COUNT.format(face=FACE, visible=visible), values)[0]["n"]
        names = ask(_NAMES.format(face=FACE, visible=visible), values)
    hits = {face_id(row["id"].hex, row["time_s"], row["box"]): row["label"] for row in names}
    faces: dict[str, SeenFace] = {}
    stored_as: dict[str, tuple[str, Key]] = {}  # face -> the id of its vector, and the key of its answer
    for row in rows:
        face = _face(row, hits)
        if face.id not in faces:
            faces[face.id] = face
            if not (row["evidence"] or "").startswith("no vector"):
                stored_as[face.id] = _vector_id(row), (row["sequence"], row["job"], row["unit_id"])
    found = vectors([id for id, _ in stored_as.values()])
    known = {face: found[id][1] for face, (id, key) in stored_as.items() if id in found and found[id][0] == key}
    return SeenFaces(list(faces.values()), [known.get(id) for id in faces], total - len(rows))


def is_face(database: Database, id: str, asset: str) -> bool:
    """Whether there is a face with this id in that file."""
    rows = database.rows(_BOXES.format(face=FACE), [asset])
    return any(face_id(asset, row["time_s"], row["box"]) == id for row in rows)


def _face(row: Mapping[str, Any], hits: Mapping[str, str]) -> SeenFace:
    asset, (left, top, right, bottom) = row["id"].hex, row["box"]
    id = face_id(asset, row["time_s"], row["box"])
    fields = {name: row[name] for name in ("uri", "parent", "name", "kind", "duration_s", "time_s", "score", "model")}
    return SeenFace(id=id, file=row["file"], asset=asset, box=(left, top, right, bottom), hit=hits.get(id), **fields)


def _vector_id(row: Mapping[str, Any]) -> str:
    """The id of a face's vector in the vector store."""
    segment = f":{row['segment']}" if row["cut"] else ""
    return f"{row['id'].hex}:face{segment}:{row['n']}"
