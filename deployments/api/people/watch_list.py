"""The API's routes for watch lists: who and which logos are looked for, added with pictures and removed."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import HTTPException, Path, Request
from PIL import Image

from cluster.access.identity import Identity
from cluster.errors import MediaError
from cluster.people.api_types import MOST_CHOSEN, Face, GroupPage, GroupQuery
from cluster.people.face import place_of
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
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import OperatorOfAll, Viewer
from deployments.api import media, uploads
from deployments.api.app import api
from deployments.api.people import pictures
from deployments.api.people.routes import Of, PeopleRoutes, unknown
from deployments.api.upload_routes import UploadRoutes
from deployments.galleries import enrolling
from deployments.galleries.enrolling import Seen
from deployments.galleries.store import Gallery, Reference
from deployments.galleries.watchlist import Rejections, unenrol

Kind = Annotated[WatchKind, Path()]
Name = Annotated[WatchName, Path()]

MOST_BYTES = 64 << 20  # of a picture
MOST_FACES = 5  # of a group that are put on the watch list
MOST_TRIED = 8
ADDED = {"people": "person enrolled", "logos": "logo added"}  # in the audit log; people as by `raysift people`
REMOVED = {"people": "person removed", "logos": "logo removed"}
AROUND = 2.2  # times the longer side of a face's box: the detector finds faces by what is around them


class WatchListRoutes(PeopleRoutes, UploadRoutes):
    """The routes; the API that inherits them has the originals, and reads uploads within limits."""

    originals: media.Originals
    copying: media.Turns

    @api.get("/v1/watch-list/{kind}")
    async def watch_list(self, kind: Kind, of: Of, who: Viewer) -> WatchList:
        """The people or logos that are looked for, and in how many files each was found.

        A caller who is limited to some folders gets those that were found there.
        """
        files = await self.catalog.files_by_label.remote(DETECTORS[kind], await self.within(of.case, who))
        counts = Counter(reference.name for reference in await self._references(kind))
        watched = [
            Watched(name=name, label=label, pictures=n, files=files.get(label, 0))
            for name, n in sorted(counts.items(), key=lambda pair: (pair[0].casefold(), pair[0]))
            for label in [label_of(kind, name)]
            if who.prefixes is None or label in files
        ]
        return WatchList(items=tuple(watched))

    @api.post("/v1/watch-list/{kind}/{name}", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def watch(self, kind: Kind, name: Name, request: Request, who: OperatorOfAll) -> Enrolled:
        """Look for a person or logo by an uploaded picture. 422 with the reason if it cannot be used."""
        why = purpose(request, self.settings.access, needed=kind == "people")
        if kind == "people":
            enrolling.check_name(name)
            self._distance()  # the detector is enabled
        also: set[str] = set()
        with self.quotas.analysing(who, uploads.declared_bytes(request, MOST_BYTES)) as count:
            async with uploads.received(request, MOST_BYTES, count) as upload:
                try:
                    content = await self._readable_picture(upload.path, kind == "logos")
                    seen = await self._faces_in(content, upload.name, request, who) if kind == "people" else []
                except MediaError as error:
                    raise HTTPException(422, error.reason) from None
        if kind == "people":
            if flaw := enrolling.flaw(seen):
                raise HTTPException(422, flaw)
            also = enrolling.others(seen, name)
        await self.access.record.remote(who, ADDED[kind], name, address(request), **why)
        await asyncio.to_thread(self._gallery(kind).add_contents, name, [(".png", content)])
        here = sum(reference.name == name for reference in await self._references(kind))
        return Enrolled(pictures=here, also=tuple(sorted(also)))

    @api.post("/v1/watch-list/people/{name}/faces")
    async def watch_group(
        self, name: Name, group: OfGroup, of: Of, request: Request, who: OperatorOfAll
    ) -> GroupEnrolled:
        """Look for the person of a group of faces, by its largest faces, which are cut out of the originals.

        422 with the reason if none of them can be used.
        """
        why = purpose(request, self.settings.access)
        enrolling.check_name(name)
        query = GroupQuery(case=of.case, size=MOST_CHOSEN)
        within = await self.within(of.case, who)
        found: GroupPage | None = await self.catalog.face_group.remote(group.face, query, self._distance(), within, who)
        if found is None:
            raise unknown()
        taken, refused = list[tuple[str, bytes]](), list[str]()
        with self.quotas.analysing(who, None):
            for face in best(found.faces)[:MOST_TRIED]:
                try:
                    content = await self._cut_out(face, who)
                    flaw = enrolling.flaw(await self._faces_in(content, face.name, request, who))
                except MediaError as error:
                    flaw = error.reason
                if flaw:
                    refused.append(flaw)
                    continue
                taken.append((face.asset, content))
                if len(taken) == MOST_FACES:
                    break
        if not taken:
            raise HTTPException(422, refused[0])
        await self.access.record.remote(who, ADDED["people"], name, address(request), group=group.face, **why)
        for asset, content in taken:
            await asyncio.to_thread(self._gallery("people").add_contents, name, [(".png", content)], asset)
        return GroupEnrolled(pictures=len(taken), refused=tuple(dict.fromkeys(refused)))

    @api.delete("/v1/watch-list/{kind}/{name}")
    async def unwatch(self, kind: Kind, name: Name, request: Request, who: OperatorOfAll) -> Unwatched:
        """Look for a person or logo no more. What was found stays until the next scan or `raysift people match`."""
        why = purpose(request, self.settings.access, needed=kind == "people")
        if all(reference.name != name for reference in await self._references(kind)):
            raise HTTPException(404, f"there is no {name!r} on this watch list")
        await self.access.record.remote(who, REMOVED[kind], name, address(request), **why)
        gallery = self._gallery(kind)
        if kind == "logos":
            return Unwatched(pictures=await asyncio.to_thread(gallery.remove, name), rejected=0)
        rejections = Rejections(gallery.uri, self.settings.s3_endpoint)
        removed, rejected = await asyncio.to_thread(unenrol, name, gallery, rejections)
        return Unwatched(pictures=removed, rejected=rejected)

    def _gallery(self, kind: WatchKind) -> Gallery:
        return Gallery(f"{self.settings.galleries}/{DETECTORS[kind]}", self.settings.s3_endpoint)

    async def _references(self, kind: WatchKind) -> list[Reference]:
        try:
            return await asyncio.to_thread(self._gallery(kind).references)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise HTTPException(503, f"the gallery of {kind} cannot be read ({reason}): see `raysift doctor`") from None

    async def _readable_picture(self, path: FilePath, transparent: bool) -> bytes:
        """An upload as PNG, made in a decoder process: nothing else reads what was sent. MediaError if it cannot."""
        async with self.copying:
            return await asyncio.to_thread(self.originals.reference, path, transparent, self.settings)

    async def _faces_in(self, content: bytes, name: str, request: Request, who: Identity) -> list[Seen]:
        """What the detector face finds in a picture; MediaError if it is not analysed."""
        with TemporaryDirectory(prefix="raysift-picture-") as folder:
            path = FilePath(folder) / "picture"
            await asyncio.to_thread(path.write_bytes, content)
            result = await self.analyzed_file(path, name, request, who, frozenset(["face"]))
        if result.failures:
            raise MediaError(result.failures[0].step, result.failures[0].reason)
        found = [finding.detection for finding in result.findings if finding.detector == "face"]
        return [Seen(detection.label, detection.score, detection.evidence) for detection in found]

    async def _cut_out(self, face: Face, who: Identity) -> bytes:
        """A face with what is around it, from its original, as PNG. MediaError if the original is not there."""
        source = await self.catalog.face_source.remote(face.id, who.prefixes)
        place = place_of(face.id)
        if source is None or place is None:
            raise MediaError("fetch", "its file is not there any more")
        settings = await self.readable(source, who)
        time_s = None if place.time_ms is None else place.time_ms / 1000

        def cut() -> bytes:
            pixels: Any = self.originals.pixels_at(source["uri"], source["parent"], source["kind"], time_s, settings)
            part = pictures.square(Image.fromarray(pixels), place.fractions, AROUND)
            png = io.BytesIO()
            part.save(png, "PNG")
            return png.getvalue()

        async with self.copying:
            return await asyncio.to_thread(cut)


def best(faces: Sequence[Face]) -> list[Face]:
    """The faces in the order in which they are tried: the largest of each file first, then the others."""
    by_size = sorted(faces, key=lambda face: -_area(face) * face.score)
    seen = Counter[str]()
    ranked = []
    for face in by_size:
        ranked.append((seen[face.asset], face))
        seen[face.asset] += 1
    return [face for _, face in sorted(ranked, key=lambda pair: pair[0])]


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)
