"""Enrolled people: the vectors of their photos, the faces rejected for them, and the identification of faces."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pyarrow import fs

from cluster.records import Detection
from cluster.results import files as results_files
from cluster.storage import buckets
from deployments.galleries import pictures
from deployments.galleries.pictures import Pixels, UnusablePicture
from deployments.galleries.store import Gallery
from deployments.galleries.watcher import GalleryWatcher

log = logging.getLogger(__name__)

FACE = "face"  # the label of every face; the detector's other labels are names of enrolled people

Faces = npt.NDArray[np.float32]  # (n, length of a vector)
Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Photo:
    """An enrolled face."""

    name: str
    file: str
    vector: Vector


class WatchList:
    """Enrolled faces, to compare with. All distances are Euclidean.

    A face is the person who has the nearest photo, if that is within `max_distance`. Vectors that were rejected for a
    name keep that name away from faces that are nearer to one of them than to any photo of the name.
    """

    def __init__(self, photos: Iterable[Photo], rejected: Mapping[str, Faces], max_distance: float) -> None:
        self.photos = sorted(photos, key=lambda photo: (photo.name, photo.file))
        self.names = sorted({photo.name for photo in self.photos})
        self._max_distance = max_distance
        self._vectors = np.asarray([photo.vector for photo in self.photos], np.float32)
        names = [photo.name for photo in self.photos]
        self._starts = [names.index(name) for name in self.names]  # of each name's photos
        self._rejected = {name: faces for name, faces in rejected.items() if name in self.names and len(faces)}

    def hits(self, faces: Sequence[Detection]) -> list[Detection | None]:
        """For each face a detection with the person's name, or None if it is nobody enrolled or has no vector."""
        hits: list[Detection | None] = [None] * len(faces)
        with_vector = [n for n, face in enumerate(faces) if face.vectors]
        if not with_vector or not self.photos:
            return hits
        vectors = np.asarray([faces[n].vectors[0].values for n in with_vector], np.float32)
        for n, (photo, distance) in zip(with_vector, self._nearest(vectors), strict=True):
            if distance <= self._max_distance:
                hits[n] = _hit(self.photos[photo], distance, faces[n])
        return hits

    def _nearest(self, vectors: Faces) -> list[tuple[int, float]]:
        """For each vector the nearest photo that may be it, by index, and its distance; infinite where none may."""
        from scipy.spatial.distance import cdist

        to_photos = cdist(vectors, self._vectors)
        to_names = np.minimum.reduceat(to_photos, self._starts, axis=1)
        for name, faces in self._rejected.items():
            n = self.names.index(name)
            to_names[cdist(vectors, faces).min(axis=1) < to_names[:, n], n] = np.inf
        ends = [*self._starts[1:], len(self.photos)]
        nearest = []
        for row, n in enumerate(to_names.argmin(axis=1)):
            start = self._starts[n]
            nearest.append((start + int(to_photos[row, start : ends[n]].argmin()), float(to_names[row, n])))
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
    """Faces that an operator rejected for a name: a JSON file for each, under _rejected/NAME of a gallery."""

    def __init__(self, gallery: str, s3_endpoint: str | None = None) -> None:
        self._files, root = buckets.filesystem(gallery, s3_endpoint)
        self._sink, _ = results_files.sink(gallery, s3_endpoint)
        self._root = f"{root}/_rejected"

    def add(self, name: str, vector: Sequence[float], model: str) -> None:
        """Keep a vector of that model; the same one again changes nothing. The file is written as a whole."""
        content = json.dumps({"model": model, "vector": [float(np.float32(x)) for x in vector]}).encode()
        self._files.create_dir(f"{self._root}/{name}", recursive=True)
        file = f"{hashlib.sha256(content).hexdigest()[:16]}.json"
        with self._sink.open_output_stream(f"{self._root}/{name}/{file}") as out:
            out.write(content)

    def paths(self) -> list[str]:
        """The files of all rejected faces, sorted: they change when the rejections do."""
        found = self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True))
        return sorted(info.path for info in found if info.is_file and info.path.endswith(".json"))

    def read(self, model: str) -> dict[str, Faces]:
        """The vectors of that model, by name; another's cannot be compared. Damaged files are logged and skipped."""
        vectors: dict[str, list[list[float]]] = {}
        for path in self.paths():
            try:
                with self._files.open_input_file(path) as file:
                    rejected = json.loads(file.read())
                if rejected["model"] == model:
                    vectors.setdefault(path.split("/")[-2], []).append([float(x) for x in rejected["vector"]])
            except FileNotFoundError:
                continue  # removed since it was listed
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is no rejected face (%s) and is not used; delete it", path, type(error).__name__)
        return {name: np.asarray(faces, np.float32) for name, faces in vectors.items()}

    def discard(self, wanted: Callable[[bytes], bool]) -> int:
        """Delete those whose vector, as bytes of float32, is wanted, and files that hold none; returns how many."""
        discarded = 0
        for path in self.paths():
            with self._files.open_input_file(path) as file:
                content = file.read()
            try:
                vector = np.asarray(json.loads(content)["vector"], np.float32).tobytes()
            except (ValueError, KeyError, TypeError):
                vector = None
            if vector is None or wanted(vector):
                self._files.delete_file(path)
                discarded += 1
        return discarded

    def count(self, name: str) -> int:
        """How many there are for a name, of any model."""
        return sum(path.split("/")[-2] == name for path in self.paths())

    def remove(self, name: str) -> int:
        """Delete those of a name; returns how many there were."""
        count = self.count(name)
        if count:
            self._files.delete_dir(f"{self._root}/{name}")
        return count


def unenrol(name: str, photos: Gallery, rejections: Rejections) -> tuple[int, int]:
    """Delete a person's photos and rejected faces; returns how many there were of each."""
    enrolled = {reference.name for reference in photos.references()}
    return photos.remove(name) if name in enrolled else 0, rejections.remove(name)


class EnrolledPeople(GalleryWatcher[Vector]):
    """The watch list of a gallery, kept up to date with its photos and rejections.

    `embed` returns the vectors of all good faces in a picture; a photo counts if there is exactly one.
    """

    def __init__(
        self,
        gallery: str,
        s3_endpoint: str | None,
        model: str,
        embed: Callable[[Pixels], list[Vector]],
        max_distance: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rejections = Rejections(gallery, s3_endpoint)
        self._model, self._embed, self._max_distance = model, embed, max_distance
        self._compared: object = None  # the photos and rejections of the list
        self._list = WatchList([], {}, max_distance)
        super().__init__(Gallery(gallery, s3_endpoint), self._vector, now)

    def watch_list(self) -> WatchList:
        """The list as the gallery was at most REFRESH_S ago; while the gallery cannot be read it stays as it was."""
        self.current()
        return self._list

    def _refresh(self, gallery: Gallery) -> None:
        super()._refresh(gallery)
        compared = (list(self._prepared), self._rejections.paths())
        if compared != self._compared:
            self._list = WatchList(
                [Photo(photo.name, photo.file, vector) for photo, vector in self._prepared.items()],
                self._rejections.read(self._model),
                self._max_distance,
            )
            self._compared = compared

    def _vector(self, photo: Image.Image) -> Vector:
        vectors = self._embed(pictures.as_frame(photo))
        if len(vectors) != 1:
            raise UnusablePicture(f"has {len(vectors) or 'no'} faces that can be told from others, and one is needed")
        return vectors[0]
