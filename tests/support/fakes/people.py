"""Groups of faces of the fake API: the real groups and corrections. Everybody who asks is Ann."""

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Response

from cluster.access.identity import Prefixes
from cluster.people.api_types import (
    Chosen,
    Corrected,
    FaceId,
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
from cluster.people.face import place_of
from cluster.people.store import FaceChanged
from deployments.catalog.catalog import Catalog
from tests.support.fakes.media import draw_face
from tests.support.fakes.sessions import ANN, BOB

DISTANCE = 0.5
Of = Annotated[OfCase, Query()]


class FakePeople:
    """The routes of people over a catalogue."""

    def __init__(self, catalog: Catalog, within: Callable[[str | None], Prefixes]) -> None:
        """`within`: the folders of a case."""
        self.catalog, self._within = catalog, within

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to the fake's application."""
        app.add_api_route("/v1/people/groups", self.groups, methods=["GET"])
        app.add_api_route("/v1/people/groups/{face}", self.group, methods=["GET"])
        app.add_api_route("/v1/people/faces/{face}/picture", self.picture, methods=["GET"])
        app.add_api_route("/v1/people/groups/{face}/name", self.name, methods=["POST"])
        app.add_api_route("/v1/people/groups/{face}/merge", self.merge, methods=["POST"])
        app.add_api_route("/v1/people/groups/{face}/split", self.split, methods=["POST"])
        app.add_api_route("/v1/people/groups/{face}/reject", self.reject, methods=["POST"])
        app.add_api_route("/v1/people/corrections/{number}/undo", self.undo, methods=["POST"])

    def bob(self, place: int, name: str) -> None:
        """Have Bob name a group, by its place in the list."""
        group = self.groups(PeopleQuery()).groups[place]
        new = NewName(version=group.version, name=name)
        self.catalog.name_group(group.face, new, DISTANCE, None, BOB)

    def groups(self, query: Annotated[PeopleQuery, Query()]) -> PeoplePage:
        """A page of groups, once the faces are compared, however slow the machine is."""
        within = self._within(query.case)
        while (page := self.catalog.people(query, DISTANCE, within, ANN)).pending:
            time.sleep(0.05)
        return page

    def group(self, face: FaceId, query: Annotated[GroupQuery, Query()]) -> GroupPage:
        """A group with its faces."""
        return _found(self.catalog.face_group(face, query, DISTANCE, self._within(query.case), ANN))

    def picture(self, face: FaceId) -> Response:
        """A picture that depends on the face's place; 404 of an unknown file."""
        place = place_of(face)
        file = place and self.catalog.asset(place.asset)
        if not place or not file:
            raise HTTPException(404, "no such face")
        return Response(draw_face(place.asset, place.time_ms or 0), media_type="image/jpeg")

    def name(self, face: FaceId, new: NewName, of: Of) -> Corrected:
        """Ann names a group."""
        return _found(self.catalog.name_group(face, new, DISTANCE, self._within(of.case), ANN))

    def merge(self, face: FaceId, merge: Merge, of: Of) -> Corrected:
        """Ann merges groups."""
        return _found(self.catalog.merge_groups(face, merge, DISTANCE, self._within(of.case), ANN))

    def split(self, face: FaceId, chosen: Chosen, of: Of) -> Corrected:
        """Ann splits a group."""
        return _found(self.catalog.split_group(face, chosen, DISTANCE, self._within(of.case), ANN))

    def reject(self, face: FaceId, reject: Reject, of: Of) -> Corrected:
        """Ann takes faces out of a group."""
        return _found(self.catalog.reject_faces(face, reject, DISTANCE, self._within(of.case), ANN))

    def undo(self, number: Version) -> TakenBack:
        """Ann takes back a correction."""
        return _found(self.catalog.take_back(number, ANN))


def _found(outcome: Any) -> Any:
    if outcome is None:
        raise HTTPException(404, "no group has this face")
    if isinstance(outcome, FaceChanged):
        raise HTTPException(409, f"meanwhile {outcome.who} has corrected this group: look at it again")
    return outcome
