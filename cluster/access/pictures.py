"""The vectors of uploaded pictures that were searched by, kept for a while, in memory only.

With them whoever has sent a picture may search by it again, also after a reload of the page. Nobody else may: the
vector of a face tells a person.
"""

import secrets
import threading
import time
from dataclasses import dataclass

from cluster.api_queries import By

KEPT_S = 3600.0
MOST, MOST_OF_ONE = 2000, 20  # pictures, of all callers and of one; the oldest is forgotten first
MOST_SEARCHED = 50  # vectors of one picture: of a crowd, the largest faces
MOST_VECTORS = 10_000  # of all pictures; those of faces take some 40 MB


@dataclass(frozen=True, slots=True)
class Picture:
    """The vectors of an upload in one space, and the SHA-256 of its file, for the audit log."""

    space: By
    vectors: tuple[tuple[float, ...], ...]
    sha256: str


class PictureKeeper:
    """Keeps pictures of each owner (`Identity.owner`) for KEPT_S. Methods may be called from several threads."""

    def __init__(self) -> None:
        self._pictures: dict[str, tuple[str, float, Picture]] = {}  # id -> owner, end, picture; the oldest first
        self._changing = threading.Lock()

    def keep_picture(self, owner: str, picture: Picture) -> str:
        """Keep a picture; returns the id by which its owner gets it back."""
        id, now = secrets.token_hex(16), time.monotonic()
        with self._changing:
            self._pictures = {key: kept for key, kept in self._pictures.items() if kept[1] > now}
            own = [key for key, kept in self._pictures.items() if kept[0] == owner]
            if len(own) >= MOST_OF_ONE:
                del self._pictures[own[0]]
            elif len(self._pictures) >= MOST:
                del self._pictures[next(iter(self._pictures))]
            vectors = len(picture.vectors) + sum(len(kept.vectors) for _, _, kept in self._pictures.values())
            while vectors > MOST_VECTORS and self._pictures:
                vectors -= len(self._pictures.pop(next(iter(self._pictures)))[2].vectors)
            self._pictures[id] = (owner, now + KEPT_S, picture)
        return id

    def forget_faces(self) -> None:
        """Drop every picture that is searched by its faces: one may show a person who is purged."""
        with self._changing:
            self._pictures = {key: kept for key, kept in self._pictures.items() if kept[2].space != "faces"}

    def picture(self, owner: str, id: str) -> Picture | None:
        """The picture of that id; None if it is not kept any more, or is another owner's."""
        now = time.monotonic()
        with self._changing:
            self._pictures = {key: kept for key, kept in self._pictures.items() if kept[1] > now}
            kept = self._pictures.get(id)
        return kept[2] if kept and kept[0] == owner else None
