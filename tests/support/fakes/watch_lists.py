"""The watch lists of the fake API: real galleries; a picture's file name says what the detector finds in it."""

import io
from collections import Counter
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Query, UploadFile
from PIL import Image

from cluster.access.identity import Prefixes
from cluster.people.api_types import GroupQuery, OfCase
from cluster.people.watch_types import (
    DETECTORS,
    Enrolled,
    GroupEnrolled,
    OfGroup,
    Unwatched,
    Watched,
    WatchKind,
    WatchList,
    WatchName,
    label_of,
)
from deployments.catalog.catalog import Catalog
from deployments.galleries import enrolling, pictures
from deployments.galleries.enrolling import Seen
from deployments.galleries.store import Gallery
from tests.support.fakes.media import draw_face
from tests.support.fakes.people import DISTANCE
from tests.support.fakes.sessions import ANN

Kind = Annotated[WatchKind, Path()]
Name = Annotated[WatchName, Path()]
Of = Annotated[OfCase, Query()]
FLAWS = {
    "blurred": "blurred (sharpness 9, 25 needed)",
    "small": "too small (21 px, 40 needed)",
    "turned": "turned away (about 74 degrees, 60 allowed)",
}


def faces_in(file: str) -> list[Seen]:
    """What the detector face finds in a picture of that file name."""
    for word, flaw in FLAWS.items():
        if word in file:
            return [Seen("face", 0.99, f"no vector: {flaw}")]
    return [Seen("face", 0.99, None)] * (0 if "nobody" in file else 2 if "two" in file else 1)


class FakeWatchLists:
    """The routes of watch lists over a catalogue."""

    def __init__(self, catalog: Catalog, within: Callable[[str | None], Prefixes]) -> None:
        """`within`: the folders of a case."""
        self.catalog, self._within = catalog, within
        self._folder = TemporaryDirectory()

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to the fake's application."""
        app.add_api_route("/v1/watch-list/{kind}", self.show, methods=["GET"])
        app.add_api_route("/v1/watch-list/{kind}/{name}", self.add, methods=["POST"])
        app.add_api_route("/v1/watch-list/people/{name}/faces", self.add_group, methods=["POST"])
        app.add_api_route("/v1/watch-list/{kind}/{name}", self.remove, methods=["DELETE"])

    def gallery(self, kind: WatchKind) -> Gallery:
        """The pictures of people or logos."""
        return Gallery(f"file://{self._folder.name}/{DETECTORS[kind]}")

    def show(self, kind: Kind, of: Of) -> WatchList:
        """Who, or which logos, are looked for."""
        files = self.catalog.files_by_label(DETECTORS[kind], self._within(of.case))
        counts = Counter(reference.name for reference in self.gallery(kind).references())
        return WatchList(
            items=tuple(
                Watched(name=name, label=label_of(kind, name), pictures=n, files=files.get(label_of(kind, name), 0))
                for name, n in sorted(counts.items(), key=lambda pair: (pair[0].casefold(), pair[0]))
            )
        )

    def add(self, kind: Kind, name: Name, file: UploadFile) -> Enrolled:
        """Add a picture."""
        content = file.file.read()
        try:
            pictures.decode(content)
        except pictures.UnusablePicture as error:
            raise HTTPException(422, f"it {error}") from None
        if kind == "people":
            enrolling.check_name(name)
            if flaw := enrolling.flaw(faces_in(file.filename or "")):
                raise HTTPException(422, flaw)
        self.gallery(kind).add_contents(name, [(".png", content)])
        here = sum(reference.name == name for reference in self.gallery(kind).references())
        return Enrolled(pictures=here, also=())

    def add_group(self, name: Name, group: OfGroup, of: Of) -> GroupEnrolled:
        """Add faces of a group: three of them."""
        enrolling.check_name(name)
        found = self.catalog.face_group(group.face, GroupQuery(), DISTANCE, self._within(of.case), ANN)
        if found is None:
            raise HTTPException(404, "no group has this face")
        for face in found.faces[:3]:
            png = io.BytesIO()
            Image.open(io.BytesIO(draw_face(face.asset, round((face.time_s or 0) * 1000)))).save(png, "PNG")
            self.gallery("people").add_contents(name, [(".png", png.getvalue())], face.asset)
        return GroupEnrolled(pictures=3, refused=())

    def remove(self, kind: Kind, name: Name) -> Unwatched:
        """Remove a name."""
        if all(reference.name != name for reference in self.gallery(kind).references()):
            raise HTTPException(404, f"there is no {name!r} on this watch list")
        return Unwatched(pictures=self.gallery(kind).remove(name), rejected=0)
