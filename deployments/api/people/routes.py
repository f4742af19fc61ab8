"""The API's routes for groups of faces, and for the corrections of reviewers."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import HTTPException, Path, Query, Request, Response

from cluster.access.holds import refuse_held
from cluster.access.identity import Identity
from cluster.people.api_types import (
    Chosen,
    Corrected,
    FaceId,
    ForgottenHits,
    GroupPage,
    GroupQuery,
    Merge,
    NewName,
    OfCase,
    PeoplePage,
    PeopleQuery,
    Reject,
    TakenBack,
    Version,
)
from cluster.people.store import FaceChanged
from cluster.settings import Settings
from deployments.access.client_address import address
from deployments.access.purposes import purpose
from deployments.access.roles import Admin, Reviewer, Viewer
from deployments.api import media
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.api.people.pictures import FacePictures
from deployments.detectors.face import FaceConfig
from deployments.serving.placement import configs

Face = Annotated[FaceId, Path()]
Of = Annotated[OfCase, Query()]


class PeopleRoutes(CaseRoutes):
    """The routes; the API that inherits them has the catalogue and the deployment of the keys."""

    settings: Settings
    access: TimedHandle
    catalog: TimedHandle
    viewed: media.Viewed
    face_pictures: FacePictures
    readable: Callable[[Mapping[str, Any], Identity], Awaitable[Settings]]

    @api.get("/v1/people/groups")
    async def people(self, query: Annotated[PeopleQuery, Query()], request: Request, who: Viewer) -> PeoplePage:
        """Groups of faces, each probably of one person, the largest first; one page of them."""
        within = await self.within(query.case, who)
        await self._record_view(query.case, request, who)
        return await self.catalog.people.remote(query, self._distance(), within, who)

    @api.get("/v1/people/groups/{face}")
    async def group(
        self, face: Face, query: Annotated[GroupQuery, Query()], request: Request, who: Viewer
    ) -> GroupPage:
        """The group that has this face, with a page of its faces, and the files in which they are."""
        within = await self.within(query.case, who)
        await self._record_view(query.case, request, who)
        found = await self.catalog.face_group.remote(face, query, self._distance(), within, who)
        if found is None:
            raise unknown()
        return found

    @api.get("/v1/people/faces/{face}/picture", response_class=Response, responses=media.JPEG)
    async def face_picture(self, face: Face, request: Request, who: Viewer) -> Response:
        """A JPEG of the face, of at most 192 px; for a viewer as coarse squares. 404 if no picture of it can be had."""
        purpose(request, self.settings.access)
        source = await self.catalog.face_source.remote(face, who.prefixes)
        if source is None:
            raise HTTPException(404, f"no face {face!r} has been found")
        jpeg = await self.face_pictures.of(face, source, not who.may("reviewer"), partial(self.readable, source, who))
        if jpeg is None:
            raise HTTPException(404, "its file is not where it was scanned, and no thumbnail shows it")
        return Response(jpeg, media_type="image/jpeg", headers=media.PRIVATE)

    @api.post("/v1/people/groups/{face}/name")
    async def name_group(self, face: Face, new: NewName, of: Of, request: Request, who: Reviewer) -> Corrected:
        """Name the person of a group. 409 if `version` is not the group's: somebody else was faster."""
        return await self._correct("name_group", face, new, of, request, who)

    @api.post("/v1/people/groups/{face}/merge")
    async def merge_groups(self, face: Face, merge: Merge, of: Of, request: Request, who: Reviewer) -> Corrected:
        """Make one person of several groups. 409 if one of the versions is not its group's."""
        return await self._correct("merge_groups", face, merge, of, request, who)

    @api.post("/v1/people/groups/{face}/split")
    async def split_group(self, face: Face, chosen: Chosen, of: Of, request: Request, who: Reviewer) -> Corrected:
        """Make another person of some faces of a group. 409 if `version` is not the group's."""
        return await self._correct("split_group", face, chosen, of, request, who)

    @api.post("/v1/people/groups/{face}/reject")
    async def reject_faces(self, face: Face, reject: Reject, of: Of, request: Request, who: Reviewer) -> Corrected:
        """Take faces out of a group: they are not this person, or no faces. 409 if `version` is not the group's."""
        return await self._correct("reject_faces", face, reject, of, request, who)

    @api.post("/v1/people/corrections/{number}/undo")
    async def undo_correction(self, number: Annotated[Version, Path()], request: Request, who: Reviewer) -> TakenBack:
        """Take back a correction: what held before holds again. 409 if one of its faces was decided on since."""
        why = purpose(request, self.settings.access)
        outcome = await self.catalog.take_back.remote(number, who, address(request), **why)
        if outcome is None:
            raise HTTPException(404, f"there is no correction {number}")
        if isinstance(outcome, FaceChanged):
            raise _changed(outcome)
        return outcome

    @api.delete("/v1/people/{name}")
    async def forget(self, name: str, request: Request, who: Admin) -> ForgottenHits:
        """Delete the hits of a person from the catalogue, and what reviewers have decided on faces of that name.

        `raysift people purge` has deleted them from the results. 422 if a legal hold is on a file with such a face.
        """
        why = purpose(request, self.settings.access)
        refuse_held(await self.access.holds.remote(), await self.catalog.files_of_person.remote(name))
        await self.access.record.remote(who, "person purged", name, address(request), **why)
        forgotten = await self.catalog.forget.remote("face", name)
        self.face_pictures.forget()
        await self.access.forget_faces.remote()
        return ForgottenHits(hits=forgotten)

    async def _correct(self, method: str, face: str, body: Any, of: OfCase, request: Request, who: Identity) -> Any:
        """Have the catalogue correct a group, and record it."""
        why, where = purpose(request, self.settings.access), address(request)
        within = await self.within(of.case, who)
        outcome = await getattr(self.catalog, method).remote(face, body, self._distance(), within, who, where, **why)
        if outcome is None:
            raise unknown()
        if isinstance(outcome, FaceChanged):
            raise _changed(outcome)
        return outcome

    async def _record_view(self, case: str | None, request: Request, who: Identity) -> None:
        """Record that faces were compared, once while somebody goes on looking at them."""
        why = purpose(request, self.settings.access)
        of = case or "all files"
        record = partial(self.access.record.remote, who, "people viewed", of, address(request), **why)
        await self.viewed.once(who, f"people {of}", record)

    def _distance(self) -> float:
        """That at which a face is an enrolled person. HTTPException 422 if the detector is not enabled."""
        config = configs(self.settings).get("face")
        if not isinstance(config, FaceConfig):
            raise HTTPException(422, "the detector face is not enabled. Set detectors.face.enabled.")
        return config.there.distance


def unknown() -> HTTPException:
    """404: no group has the face."""
    return HTTPException(
        404,
        "no group has this face. If its file was scanned just now, its faces are still being compared: try again in a "
        "minute",
    )


def _changed(outcome: FaceChanged) -> HTTPException:
    by = f"{outcome.who} has corrected" if outcome.who else "a scan or somebody has changed"
    return HTTPException(409, f"meanwhile {by} this group: look at it again")
