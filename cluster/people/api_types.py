"""The types of the routes for people: queries, bodies of requests, responses.

A group is the faces of probably one person. It has no id of its own: each face in it names it. Its version is the
number of the latest decision on one of its faces, 0 if there is none; a correction names the version that was seen.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from cluster.api_types import Answer, Box, Span
from cluster.decisions.api_types import MOST_NUMBER
from cluster.decisions.rules import MOST_CHARACTERS
from cluster.people.face import PATTERN
from cluster.records import Kind

MOST_CHOSEN = 500  # faces of one request
MOST_GROUPS = 200  # of one page
MOST_PAGE = 1_000_000
FACE = "face"  # the label of every face, which is no name

FaceId = Annotated[str, Field(pattern=PATTERN)]
Version = Annotated[int, Field(ge=0, le=MOST_NUMBER)]


def _is_free(name: str) -> str:
    if name.lower() == FACE:
        raise ValueError(f"{name!r} is the label of every face: choose another name")
    return name


# as the names of enrolled people: deployments/galleries/store.py
PersonName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS, pattern=r"^[^\W_][\w .&'+-]*$"),
    AfterValidator(_is_free),
]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfCase(_Given):
    """Whose faces are meant: those of a case, of which a limited caller sees the own files."""

    case: str | None = Field(default=None, description="the name of a case: only faces in its files")


class PeopleQuery(OfCase):
    """Which groups to list, those with the most faces first."""

    name: str = Field(default="", max_length=MOST_CHARACTERS, description="letters of the name; empty: all")
    page: int = Field(default=1, ge=1, le=MOST_PAGE)
    size: int = Field(default=40, ge=1, le=MOST_GROUPS)


class GroupQuery(OfCase):
    """Which faces of a group to list, in the order of their files."""

    page: int = Field(default=1, ge=1, le=MOST_PAGE)
    size: int = Field(default=100, ge=1, le=MOST_CHOSEN)


class NewName(_Given):
    """The name of a group's person. If another group has it, both are one person from now on."""

    version: Version
    name: PersonName


class SeenGroup(_Given):
    """A group, by a face in it, and its version that was seen."""

    face: FaceId
    version: Version


class Merge(_Given):
    """The groups that are the same person."""

    version: Version
    others: tuple[SeenGroup, ...] = Field(min_length=1, max_length=MOST_GROUPS)


class Chosen(_Given):
    """Faces of a group."""

    version: Version
    faces: tuple[FaceId, ...] = Field(min_length=1, max_length=MOST_CHOSEN)


class Reject(Chosen):
    """What these faces are not: this person, or a face at all."""

    reason: Literal["person", "face"]


class Face(Answer):
    """A face in a file."""

    id: str
    asset: str
    uri: str
    name: str  # of the file
    kind: Kind | None
    time_s: float | None  # of the frame; None: in a still image
    box: Box
    score: float


class Group(Answer):
    """The faces of probably one person."""

    face: str  # the id of one of them, by which the group is found
    version: int
    name: str | None  # None: it has none
    enrolled: bool  # the name, or a part of the faces, comes from photos of an enrolled person
    faces: int
    files: int
    samples: tuple[Face, ...]  # a few, of different files


class Correction(Answer):
    """A correction of groups, of which the faces have one decision each."""

    correction: int
    what: str
    faces: int
    who: str
    at: str


class PeoplePage(Answer):
    """A page of groups, and how many faces are in none."""

    total: int  # groups
    page: int
    size: int
    groups: tuple[Group, ...]
    faces: int  # in groups
    alone: int  # like too few others
    unclear: int  # too small, blurred or turned to be compared
    no_faces: int  # marked as no face
    left_out: int  # beyond the number of faces that are compared
    pending: bool  # faces are being compared: the groups are those from before, or none yet
    last: Correction | None  # of the caller, if it can be taken back


class Appearance(Answer):
    """A file in which a person is seen. `spans`: when, in seconds of a film; empty of a still image."""

    asset: str
    name: str
    kind: Kind | None
    duration_s: float | None
    faces: int
    spans: tuple[Span, ...]


class GroupPage(Answer):
    """A group with a page of its faces, and the files in which they are, those with the most faces first."""

    group: Group
    page: int
    size: int
    faces: tuple[Face, ...]
    appearances: tuple[Appearance, ...]  # at most MOST_GROUPS
    last: Correction | None  # of the caller, if it can be taken back


class Corrected(Answer):
    """What a correction changed. It is taken back by its number."""

    correction: int
    faces: int


class TakenBack(Answer):
    """How many faces have the decision again that they had before."""

    faces: int


class ForgottenHits(Answer):
    """The number of detections of a person that were removed from the catalogue."""

    hits: int
