"""The types of the routes for watch lists: the people and logos of the galleries, and how many files show them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from cluster.api_types import Answer
from cluster.people.api_types import FaceId

WatchKind = Literal["people", "logos"]
DETECTORS: dict[WatchKind, str] = {"people": "face", "logos": "logo"}  # which finds them, and has the gallery
ALSO = " + "  # in the name of a logo, between a brand and its other names: "Facebook + Meta"
LONGEST_NAME = 80

# as the galleries have it: deployments/galleries/store.py
WatchName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\W_][\w .&'+-]*$"),
]


def label_of(kind: WatchKind, name: str) -> str:
    """The label of the detections of a name: of a logo the brand, without its other names."""
    return name.split(ALSO)[0].strip() if kind == "logos" else name


class Watched(Answer):
    """A person or logo that is looked for."""

    name: str
    label: str  # of its detections
    pictures: int
    files: int  # of the case, or of all that the caller sees, in which it was found


class WatchList(Answer):
    """Everybody, or every logo, that is looked for, by name; for a limited caller those found in the own files."""

    items: tuple[Watched, ...]


class Enrolled(Answer):
    """A picture is on the watch list."""

    pictures: int  # of this name
    also: tuple[str, ...]  # other enrolled people whom it may show


class OfGroup(BaseModel):
    """A group of faces, by a face in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: FaceId


class GroupEnrolled(Answer):
    """The pictures of a group of faces that are on the watch list, and why others were not taken."""

    pictures: int
    refused: tuple[str, ...]


class Unwatched(Answer):
    """What was removed with a name."""

    pictures: int
    rejected: int  # faces that were rejected for the name
