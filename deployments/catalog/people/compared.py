"""The comparison of all faces that a caller sees, made once for all who see the same files, in a thread of its own."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass, field

from cluster.access.identity import Prefixes
from cluster.people.store import FaceEntry
from cluster.vectors import VectorsDown
from deployments.catalog.database import Database
from deployments.catalog.people.components import Components, components
from deployments.catalog.people.faces import FaceVectors, SeenFaces, seen_faces
from deployments.catalog.people.grouping import Grouping, grouped

KEPT = 4  # comparisons; each holds the vectors of its faces
MOST_COMING = 8  # comparisons that wait or are being made
WAIT_S = 1.0  # for the first comparison of these files: callers ask again, and the catalogue has others to answer


@dataclass(slots=True)
class Comparison:
    """Faces, the number of each one's cluster, and how many more there are."""

    seen: SeenFaces
    components: Components
    left_out: int
    index: dict[str, int]  # face id -> its index
    _grouping: Grouping | None = None  # of the decisions _entries
    _entries: Mapping[str, FaceEntry] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def grouping(self, entries: Mapping[str, FaceEntry]) -> Grouping:
        """The groups of the faces by these decisions, made once as long as they are the same object.

        FaceStore.latest returns another one after each change.
        """
        with self._lock:  # several requests at once make them once
            if self._grouping is None or self._entries is not entries:
                self._grouping, self._entries = grouped(self.seen, self.components, entries), entries
            return self._grouping


@dataclass(slots=True)
class _Place:
    """The newest finished comparison of some files, and the one that is being made."""

    finished: Comparison | None = None
    of: int = -1  # the version of the catalogue of which `finished` is
    coming: Future[Comparison] | None = None
    coming_of: int = -1


Of = tuple[tuple[str, ...] | None, float]


class Comparisons:
    """Comparisons of faces, kept until the catalogue changes. Methods may be called from several threads."""

    def __init__(self, database: Database, vectors: FaceVectors, version: Callable[[], int]) -> None:
        """`version`: a number that grows with every change of the catalogue."""
        self._database, self._vectors, self._version = database, vectors, version
        self._places: OrderedDict[Of, _Place] = OrderedDict()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "faces")

    def of(self, within: Prefixes, distance: float) -> tuple[Comparison | None, bool]:
        """The newest comparison of the faces in these files, and whether a newer one is being made.

        Waits for the first one, up to WAIT_S; None if it takes longer. VectorsDown if the vector store does not answer,
        or MOST_COMING others are being made.
        """
        version = self._version()
        with self._lock:
            place = self._place((None if within is None else tuple(sorted(within)), distance))
            if place.finished is not None and place.of == version:
                return place.finished, False
            if place.coming is None:
                place.coming, place.coming_of = self._thread.submit(self._compare, within, distance), version
            coming, coming_of = place.coming, place.coming_of
        try:
            finished = coming.result(WAIT_S if place.finished is None else 0)
        except TimeoutError:
            return place.finished, True
        except BaseException:
            with self._lock:
                place.coming = None  # the next request tries again
            raise
        with self._lock:
            if place.coming is coming:
                place.finished, place.of, place.coming = finished, coming_of, None
        return finished, coming_of != version

    def forget(self) -> None:
        """Drop all comparisons, with their vectors."""
        with self._lock:
            self._places.clear()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _place(self, key: Of) -> _Place:
        if key not in self._places:
            coming = sum(place.coming is not None and not place.coming.done() for place in self._places.values())
            if coming >= MOST_COMING:
                raise VectorsDown(f"{coming} other comparisons of faces are being made: try again in a minute")
        place = self._places.setdefault(key, _Place())
        self._places.move_to_end(key)
        idle = [other for other, it in self._places.items() if it.coming is None or it.coming.done()]
        for other in idle[: max(0, len(self._places) - KEPT)]:  # one that is being made is not made in vain
            if other != key:
                del self._places[other]
        return place

    def _compare(self, within: Sequence[str] | None, distance: float) -> Comparison:
        seen = seen_faces(self._database, within, self._vectors)
        numbers, left_out = components(seen, distance)
        index = {face.id: n for n, face in enumerate(seen.faces)}
        return Comparison(seen, numbers, seen.left_out + left_out, index)
