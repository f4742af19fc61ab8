"""The types of the routes for decisions and reviews: bodies of requests, queries, responses.

A decision has a version: 1 is a file's first. A write names the version that its writer saw, 0 if there was none.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from cluster.api_queries import MOST_VALUES, AssetFilter, Sort
from cluster.api_types import Answer, Problem
from cluster.decisions.rules import MOST_CHARACTERS

MOST_TAGS = 20  # of a decision
MOST_AT_ONCE = 200  # files of one request
MOST_NOTE = 4000  # characters
MOST_NUMBER = (1 << 53) - 1  # of a version or an entry: exact in every JSON parser

AssetId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Version = Annotated[int, Field(ge=0, le=MOST_NUMBER)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MOST_CHARACTERS)]


def _once(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


Tags = Annotated[tuple[Word, ...], Field(max_length=MOST_TAGS), AfterValidator(_once)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewDecision(_Given):
    """What a reviewer decides. Who it is comes from the key or session, and when from the server."""

    version: Version = Field(description="of the decision that the reviewer saw; 0: there was none")
    label: Word = Field(description="one of the setting review.labels")
    tags: Tags = Field(default=(), description="reasons, or words to find the file by")
    note: str = Field(default="", max_length=MOST_NOTE)


class Undo(_Given):
    """The decision to take back, by the version that the reviewer saw."""

    version: Version


class AssetDecision(NewDecision):
    """A decision on one of several files."""

    asset: AssetId


class NewDecisions(_Given):
    """Decisions on several files; each is stored if its file's version is still the one that was seen."""

    decisions: tuple[AssetDecision, ...] = Field(min_length=1, max_length=MOST_AT_ONCE)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({decision.asset for decision in self.decisions}) < len(self.decisions):
            raise ValueError("a file is named twice: give one decision for each")
        return self


class DecisionQuery(_Given):
    """Which decisions to list, newest first. A filter with several values accepts any of them."""

    label: tuple[str, ...] = Field(default=(), max_length=MOST_VALUES)
    tag: tuple[str, ...] = Field(default=(), max_length=MOST_VALUES)
    who: tuple[str, ...] = Field(default=(), max_length=MOST_VALUES, description="names of reviewers")
    history: bool = Field(default=False, description="also the decisions that were replaced or taken back")
    size: int = Field(default=100, ge=1, le=500)
    after: int | None = Field(default=None, ge=1, le=MOST_NUMBER, description="`next` of the page before")


class ReviewQueue(_Given):
    """The files to review."""

    filter: AssetFilter = Field(default=AssetFilter(), description="as of /v1/assets")
    second: bool = Field(
        default=False, description="files that one other reviewer has decided; false: those without a decision"
    )
    decided_by: str | None = Field(
        default=None, max_length=1000, description="with `second`: only this reviewer's, by name"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.filter.decision and not self.second:
            raise ValueError("a first review is of files without a decision: set `second`, or leave out `decision`")
        if self.decided_by is not None and not self.second:
            raise ValueError("`decided_by` goes with `second`")
        return self


class NextReview(ReviewQueue):
    """Of which files the next one is wanted. Of a second review, they come in order of arrival."""

    sort: Sort = "score"
    skip: tuple[AssetId, ...] = Field(default=(), max_length=MOST_AT_ONCE, description="files that are left for later")


class Release(_Given):
    """The file that a reviewer leaves."""

    asset: AssetId


class Decision(Answer):
    """A decision on a file, or in a history that one was taken back.

    The version of the present decision is that of its file's latest entry, which the next write names.
    """

    asset: str
    uri: str
    version: int
    label: str | None  # of an undo: that of the decision that holds again; None: there is none
    tags: tuple[str, ...]
    note: str
    who: str
    subject: str = ""  # of somebody whom an OpenID Connect provider knows: issuer and subject
    at: str
    models: dict[str, str]  # detector -> model of what had been found in the file then
    undo: bool  # it took back the decision before it, and stands for the one before that


class AssetDecisions(Answer):
    """The present decision on a file, and all there were, newest first."""

    asset: str
    labels: tuple[str, ...]  # that a decision may have, in the order of their keys
    version: int  # 0: there was none; the next write names this
    decision: Decision | None  # None: there is none, or it was taken back
    disputed: bool  # reviewers have decided differently
    history: tuple[Decision, ...]


class DecisionChanged(Problem):
    """409: somebody has decided meanwhile, or has taken a decision back. `present`: the file's latest entry."""

    present: Decision | None


class Written(Answer):
    """The outcome for one of several files: stored, or why it was not, with the decision there is now."""

    asset: str
    outcome: Literal["stored", "changed", "not found"]
    decision: Decision | None = None


class AllWritten(Answer):
    """The outcome for each of several files, in the order of the request."""

    outcomes: tuple[Written, ...]


class DecisionPage(Answer):
    """A page of decisions."""

    items: tuple[Decision, ...]
    next: int | None  # `after` of the next page; None: this is the last one


class ReviewItem(Answer):
    """The next file to review, which is kept for the caller; `asset` is None if there is none left."""

    asset: str | None
    version: int = 0  # of its decision
    until: str | None = None  # how long it is kept


class Progress(Answer):
    """How far the review of a queue is, and how fast."""

    total: int  # files that pass the filter
    done: int  # of these, with a decision; of a second review: with decisions of two reviewers
    last_hour: int  # decisions of everybody within the last hour
    own_last_hour: int  # of the caller
