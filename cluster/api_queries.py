"""The queries of the HTTP API: models with which its routes parse a query and its clients build one."""

import base64
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from cluster.filters import conditions
from cluster.records import Box, ExportFormat, Kind, Pictures, Priority, ReportFormat, current_space

Sort = Literal["newest", "oldest", "score", "name"]
# The vector space in which files are compared; URLs from before 0.2 say "looks" for "image".
By = Annotated[Literal["image", "faces"], BeforeValidator(current_space)]

MOST_VALUES = 1000  # of one filter
MOST_UNDER = 100  # beginnings of URIs: each is a comparison of its own with every file
MAX_IDS = 200  # so that a URL with them has less than 8 KiB, the limit of many proxies
MAX_PAGE = 10_000_000  # at 200 files a page, more than any catalogue holds; the offset fits 64 bits

_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# with a bound of characters pydantic also refuses what is no Unicode, such as a lone surrogate in a body of JSON
_Value = Annotated[str, Field(max_length=8000)]
_Box = Annotated[str, Field(max_length=100), AfterValidator(lambda text: write_box(read_box(text)))]
_Score = Annotated[float, Field(ge=-1e38, le=1e38)]  # the catalogue holds it in single precision
# the order, the last file's value in it, and its id; for `name` the id is enough
Cursor = (
    tuple[Literal["newest", "oldest"], Annotated[int, Field(ge=0, lt=1 << 62)], _Id]  # microseconds since 1970
    | tuple[Literal["score"], _Score | None, _Id]  # None: it has no score
    | tuple[Literal["name"], None, _Id]
)
_CURSOR: TypeAdapter[Cursor] = TypeAdapter(Cursor)


def write_cursor(cursor: Cursor) -> str:
    """The text by which a client asks for the page after this place."""
    return base64.urlsafe_b64encode(_CURSOR.dump_json(cursor)).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """The place that the text of `write_cursor` names. ValueError if it is another text."""
    try:
        return _CURSOR.validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise ValueError("it is no `next` of a page of this list") from None


def read_box(text: str) -> Box:
    """The part of a picture that a text names: left, top, right, bottom as fractions, such as 0.1,0.2,0.5,0.75.

    ValueError if it is none, or has no area.
    """
    try:
        left, top, right, bottom = (round(float(side), 6) for side in text.split(","))
    except ValueError:
        raise ValueError("it is no box: left,top,right,bottom as fractions of the picture") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("a box has 0 <= left < right <= 1 and 0 <= top < bottom <= 1")
    return left, top, right, bottom


def write_box(box: Box) -> str:
    """The text of `read_box` for a box, exact to a pixel of any picture."""
    return ",".join(f"{side:.6f}".rstrip("0").rstrip(".") for side in box)


def _checked_cursor(text: str) -> str:
    read_cursor(text)
    return text


def _checked_condition(text: str) -> str:
    conditions.parse(text)
    return text


def _checked_detected(text: str) -> str:
    conditions.detected(text)
    return text


def _affordable(where: tuple[str, ...]) -> tuple[str, ...]:
    if not conditions.affordable(where):
        raise ValueError(
            f"all conditions together have at most {conditions.MOST_TOGETHER} alternatives, "
            f"{conditions.MOST_SEARCHES} of them with words"
        )
    return where


_Condition = Annotated[str, Field(max_length=conditions.MOST_CHARACTERS), AfterValidator(_checked_condition)]
_Detected = Annotated[str, Field(max_length=conditions.MOST_CHARACTERS), AfterValidator(_checked_detected)]


class AssetFilter(BaseModel):
    """Which files are meant.

    A filter without a value accepts every file, one with several values accepts files with any of them. A file must
    pass all filters; detector, label, detector_label and min_score must apply to the same detection of it. Of several
    values of `where` each must apply, to detections of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: tuple[Kind, ...] = Field(default=(), max_length=MOST_VALUES)
    detector: tuple[_Value, ...] = Field(default=(), max_length=MOST_VALUES)
    label: tuple[_Value, ...] = Field(default=(), max_length=MOST_VALUES, description="of any detector")
    detector_label: tuple[Annotated[_Value, Field(pattern=r"^[^:]+:")], ...] = Field(
        default=(), max_length=MOST_VALUES, description="a label of one detector, as DETECTOR:LABEL"
    )
    min_score: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="of a detection that passes the three filters above"
    )
    where: Annotated[tuple[_Condition, ...], AfterValidator(_affordable)] = Field(
        default=(),
        max_length=conditions.MOST_CONDITIONS,
        description="conditions, each of which applies: alternatives joined by `|`, `!` negates one. An alternative is "
        "DETECTOR:LABEL, either of which may be empty, with >=SCORE, <=SCORE, ~WORDS behind it; or kind=KIND, "
        "name~TEXT, under=URI, job=JOB, error~TEXT; or bytes, width, height, duration or scanned with >= or <=",
        examples=[["face:", "ocr:~exit", "!nsfw:>=0.3", "width>=640|kind=audio"]],
    )
    id: tuple[_Id, ...] = Field(default=(), max_length=MAX_IDS, description="only these files")
    upto: _Id | None = Field(
        default=None,
        description="`latest` of an earlier page: only files that had arrived by then, so that a list does not move "
        "while others are added",
    )
    under: tuple[_Value, ...] = Field(default=(), max_length=MOST_UNDER, description="the beginning of the URI")
    case: _Value | None = Field(default=None, description="the name of a case: only files in its folders")
    job: tuple[_Value, ...] = Field(default=(), max_length=MOST_VALUES, description="files that this job has analysed")
    failed: bool | None = Field(
        default=None, description="only files with errors, or only those without; with `job`: in that job"
    )
    decision: tuple[_Value, ...] = Field(
        default=(), max_length=MOST_VALUES, description="what was decided on the file; none: nothing yet"
    )
    tag: tuple[_Value, ...] = Field(default=(), max_length=MOST_VALUES, description="of the decision on the file")


class AssetQuery(AssetFilter):
    """Which files to list, in which order, and which page of them."""

    sort: Sort = "newest"
    score_of: _Detected | None = Field(
        default=None, description="with sort=score: the score of which label, as DETECTOR:LABEL, DETECTOR: or :LABEL"
    )
    page: int = Field(default=1, ge=1, le=MAX_PAGE)
    size: int = Field(default=60, ge=1, le=200)
    after: Annotated[str, Field(max_length=200), AfterValidator(_checked_cursor)] | None = Field(
        default=None, description="`next` of the page before, instead of `page`; it holds while files are added"
    )

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.after is not None and (self.page != 1 or read_cursor(self.after)[0] != self.sort):
            raise ValueError("`after` goes with the `sort` of the page that it comes from, and without `page`")
        return self


class ExportQuery(AssetFilter):
    """Which files to export, each with all its detections, and in which format."""

    format: ExportFormat = "jsonl"


class ReportQuery(AssetFilter):
    """Of which files to make a report, in which format, and how their pictures are shown in it."""

    format: ReportFormat = "html"
    pictures: Pictures = Field(default="blurred", description="blurred: without detail that could be computed back")


class LikenessQuery(AssetFilter):
    """In what files are to be similar, the maximum number of them, and the filters that they pass."""

    by: By = "image"
    limit: int = Field(default=40, ge=1, le=200, description="of files with the words, and of similar ones")
    q: str | None = Field(
        default=None,
        max_length=1000,
        description="words that are seen, read or said; with a picture: files that match both are first",
    )


class SearchQuery(LikenessQuery):
    """A search by words, by a picture, or by both.

    The picture is a scanned file, an upload that was searched by before, or a region of a file's original.
    """

    like: str | None = Field(default=None, description="the id of a file")
    picture: _Id | None = Field(
        default=None, description="`picture` of the answer to an upload, for an hour after it; `by` is what it was then"
    )
    asset: _Id | None = Field(default=None, description="the id of a file of whose original `box` is searched by")
    box: _Box | None = Field(
        default=None,
        description="left,top,right,bottom as fractions of the upright picture",
        examples=["0.1,0.2,0.5,1"],
    )
    at_s: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        default=0.0, description="with `asset`: the second of a film at which it shows the frame"
    )

    @property
    def has_picture(self) -> bool:
        """Whether a picture is searched by, with or without words."""
        return self.like is not None or self.picture is not None or self.asset is not None

    @model_validator(mode="after")
    def _check_what_is_given(self) -> Self:
        pictures = sum(given is not None for given in (self.like, self.picture, self.asset))
        if pictures > 1 or (not pictures and self.q is None):
            raise ValueError(
                "search takes q=words and one picture, or either: like=a file's id, picture=`picture` of an answer, or "
                "asset=a file's id with box"
            )
        if (self.asset is None) != (self.box is None):
            raise ValueError("a region is searched by with both asset=a file's id and box=left,top,right,bottom")
        return self


class ScanRequest(BaseModel):
    """The body of a request to scan folders, buckets or files."""

    model_config = ConfigDict(frozen=True)

    uris: list[str] = Field(min_length=1)
    out: str | None = Field(default=None, description="where the results go; null: the place in the settings")
    detectors: list[str] | None = Field(default=None, description="null: all")
    priority: Priority = "normal"
    case: str | None = Field(default=None, description="a case, to which these folders are added")
