"""Who is looked for: the enrolled faces, those that were told to be somebody else's, and which of them a face is."""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pyarrow import fs

from cluster.records import Detection
from cluster.storage import buckets
from deployments.galleries.store import Gallery, Reference

log = logging.getLogger(__name__)

FACE = "face"  # the label of a face whoever it is; what else the detector face says is a name
LOOK_S = 5.0  # between looks at the gallery
PHOTO_PX = 1600  # the longer side to which photos are brought, as decoding brings frames

Faces = npt.NDArray[np.float32]  # (n, length of a vector)


@dataclass(frozen=True, slots=True)
class Photo:
    """An enrolled face."""

    name: str
    file: str
    vector: tuple[float, ...]


class WatchList:
    """Enrolled faces, compared. A face is the person whose nearest photo is the nearest of all, within `most`.

    What was rejected for a name keeps that name away from faces that are nearer to it than to the photos.
    Distances are Euclidean.
    """

    def __init__(self, photos: Iterable[Photo], rejected: Mapping[str, Faces], most: float) -> None:
        self.photos = sorted(photos, key=lambda photo: (photo.name, photo.file))
        self.names = sorted({photo.name for photo in self.photos})
        self._most = most
        self._faces = np.asarray([photo.vector for photo in self.photos], np.float32)
        of = [photo.name for photo in self.photos]
        self._starts = [of.index(name) for name in self.names]
        self._rejected = {name: faces for name, faces in rejected.items() if name in self.names and len(faces)}

    def hits(self, faces: Sequence[Detection]) -> list[Detection | None]:
        """Who each of these faces is, in order; None where it is nobody, or the face has no vector."""
        found: list[Detection | None] = [None] * len(faces)
        told = [n for n, face in enumerate(faces) if face.vectors]
        if not told or not self.photos:
            return found
        vectors = np.asarray([faces[n].vectors[0].values for n in told], np.float32)
        for n, (at, distance) in zip(told, self._nearest(vectors), strict=True):
            if distance <= self._most:
                found[n] = _hit(self.photos[at], distance, faces[n])
        return found

    def _nearest(self, vectors: Faces) -> list[tuple[int, float]]:
        """For each vector the nearest photo of those who may be it, and how far; infinitely where nobody may."""
        from scipy.spatial.distance import cdist

        apart = cdist(vectors, self._faces)
        of_name = np.minimum.reduceat(apart, self._starts, axis=1)
        for name, faces in self._rejected.items():
            n = self.names.index(name)
            of_name[cdist(vectors, faces).min(axis=1) < of_name[:, n], n] = np.inf
        ends = [*self._starts[1:], len(self.photos)]
        nearest = []
        for row, n in enumerate(of_name.argmin(axis=1)):
            start = self._starts[n]
            nearest.append((start + int(apart[row, start : ends[n]].argmin()), float(of_name[row, n])))
        return nearest


def _hit(photo: Photo, distance: float, face: Detection) -> Detection:
    return Detection(
        photo.name,
        round(max(0.0, 1 - distance), 4),
        box=face.box,
        time_s=face.time_s,
        evidence=f"distance {distance:.2f} to photo {photo.file}",
    )


class Rejections:
    """Faces that an operator said are not somebody: vectors beside the photos, under _rejected/NAME of a gallery."""

    def __init__(self, gallery: str, s3_endpoint: str | None = None) -> None:
        self._files, root = buckets.filesystem(gallery, s3_endpoint)
        self._root = f"{root}/_rejected"

    def add(self, name: str, vector: Sequence[float], model: str) -> None:
        """Keep a vector of that model; the same one again changes nothing."""
        content = json.dumps({"model": model, "vector": [float(np.float32(x)) for x in vector]}).encode()
        self._files.create_dir(f"{self._root}/{name}", recursive=True)
        file = f"{hashlib.sha256(content).hexdigest()[:16]}.json"
        with self._files.open_output_stream(f"{self._root}/{name}/{file}") as out:
            out.write(content)

    def paths(self) -> list[str]:
        """Where each is kept, sorted: it changes when they do."""
        found = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True))
        return sorted(info.path for info in found if info.is_file and info.path.endswith(".json"))

    def read(self, model: str) -> dict[str, Faces]:
        """The vectors of that model, by name; another model's cannot be compared."""
        found: dict[str, list[list[float]]] = {}
        for path in self.paths():
            with self._files.open_input_file(path) as file:
                kept = json.loads(file.read())
            if kept["model"] == model:
                found.setdefault(path.split("/")[-2], []).append(kept["vector"])
        return {name: np.asarray(vectors, np.float32) for name, vectors in found.items()}

    def count(self, name: str) -> int:
        """How many there are for a name, of any model."""
        return sum(path.split("/")[-2] == name for path in self.paths())

    def remove(self, name: str) -> int:
        """Forget those of a name; how many there were."""
        gone = self.count(name)
        if gone:
            self._files.delete_dir(f"{self._root}/{name}")
        return gone


class Watching:
    """The watch list of a gallery, as it is now: looked at again at most every LOOK_S, only new photos computed."""

    def __init__(
        self,
        gallery: str,
        s3_endpoint: str | None,
        model: str,
        embed: Callable[[npt.NDArray[np.uint8]], list[tuple[float, ...]]],
        most: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gallery, self._rejections = Gallery(gallery, s3_endpoint), Rejections(gallery, s3_endpoint)
        self._model, self._embed, self._most, self._now = model, embed, most, now
        self._photos: dict[Reference, Photo | None] = {}  # None: no single good face is on it
        self._seen: object = None
        self._list = WatchList([], {}, most)
        self._look()
        self._looked = now()

    def current(self) -> WatchList:
        """A gallery that cannot be read just now leaves it as it was; that is logged."""
        if self._now() - self._looked >= LOOK_S:
            self._looked = self._now()
            try:
                self._look()
            except OSError as error:
                log.warning("the watch list stays as it was: %s", error)
        return self._list

    def _look(self) -> None:
        references, rejected = self._gallery.references(), self._rejections.paths()
        if self._seen == (references, rejected):
            return
        self._photos = {one: self._photos[one] if one in self._photos else self._photo(one) for one in references}
        photos = [photo for photo in self._photos.values() if photo is not None]
        self._list = WatchList(photos, self._rejections.read(self._model), self._most)
        self._seen = (references, rejected)

    def _photo(self, reference: Reference) -> Photo | None:
        found = self._embed(opened(self._gallery.read(reference)))
        if len(found) == 1:
            return Photo(reference.name, reference.file, found[0])
        log.warning("photo %s of the watch list has %d good faces, not one; add another", reference.file, len(found))
        return None


def opened(picture: bytes) -> npt.NDArray[np.uint8]:
    """A photo as the detector is handed frames: upright, RGB, at most PHOTO_PX."""
    with Image.open(io.BytesIO(picture)) as photo:
        turned = ImageOps.exif_transpose(photo).convert("RGB")
        turned.thumbnail((PHOTO_PX, PHOTO_PX))
        return np.asarray(turned)
