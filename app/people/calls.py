"""Calls of the API for watch lists and for corrections of groups. They raise what ApiClient's own methods raise."""

from typing import IO, Literal
from urllib.parse import quote

from pydantic import BaseModel

from app.client import PLAN_TIMEOUT_S, ApiClient, of_case
from cluster.people.api_types import Corrected, TakenBack
from cluster.people.watch_types import Enrolled, GroupEnrolled, Unwatched, WatchKind, WatchList

GroupChange = Literal["name", "merge", "split", "reject"]


def correct_group(api: ApiClient, face: str, how: GroupChange, body: BaseModel, case: str | None = None) -> Corrected:
    """Correct the group of a face, in a case. ApiError 409 if somebody else was faster."""
    path = f"/people/groups/{quote(face)}/{how}"
    return api.ask("POST", path, Corrected, body.model_dump(mode="json"), params=of_case(case))


def undo_correction(api: ApiClient, correction: int) -> TakenBack:
    """Take back a correction of groups. ApiError 409 if it does not hold any more."""
    return api.ask("POST", f"/people/corrections/{correction}/undo", TakenBack, {})


def watch_list(api: ApiClient, kind: WatchKind, case: str | None = None) -> WatchList:
    """The people or logos that are looked for."""
    return api.ask("GET", f"/watch-list/{kind}", WatchList, params=of_case(case))


def watch(api: ApiClient, kind: WatchKind, name: str, file: str, content: IO[bytes]) -> Enrolled:
    """Look for a person or logo by a picture. ApiError 422 with the reason if it cannot be used."""
    return api.upload(f"/watch-list/{kind}/{quote(name, safe='')}", Enrolled, file, content, {})


def watch_group(api: ApiClient, name: str, face: str, case: str | None = None) -> GroupEnrolled:
    """Look for the person of a group. ApiError 422 if none of its faces can be used."""
    path = f"/watch-list/people/{quote(name, safe='')}/faces"
    return api.ask("POST", path, GroupEnrolled, {"face": face}, params=of_case(case), timeout_s=PLAN_TIMEOUT_S)


def unwatch(api: ApiClient, kind: WatchKind, name: str) -> Unwatched:
    """Look for a person or logo no more."""
    return api.ask("DELETE", f"/watch-list/{kind}/{quote(name, safe='')}", Unwatched)
