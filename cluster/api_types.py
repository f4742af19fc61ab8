"""The types of the HTTP API's responses: response models of its routes, result types of its clients.

Times of day are ISO 8601 in UTC, durations and positions in recordings are seconds, boxes are fractions of the frame.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from cluster.records import Kind, Modality

Box = tuple[float, float, float, float]  # left, top, right, bottom
Span = tuple[float, float]  # start, end
# latitude and longitude in degrees, WGS 84; not every reader of schemas takes those of tuples within `anyOf`
_SCHEMA = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
Position = Annotated[tuple[float, float], WithJsonSchema(_SCHEMA)]


class Answer(BaseModel):
    """The base of all responses: immutable; fields that a newer API adds are ignored."""

    model_config = ConfigDict(frozen=True)


class ProblemType(StrEnum):
    """What a program does best about an error that its status alone does not say."""

    PLAIN = "about:blank"  # the status says it (RFC 9457, 4.2.1)
    INVALID = "urn:problem-type:raysift:invalid-request"  # correct the values that `errors` names
    KEY_REUSED = "urn:problem-type:raysift:idempotency-key-reused"  # take another Idempotency-Key
    IN_PROGRESS = "urn:problem-type:raysift:request-in-progress"  # wait, then ask again with the same Idempotency-Key
    DECISION_CHANGED = (
        "urn:problem-type:raysift:decision-changed"  # look at `present`; send its version to decide again
    )
    QUOTA = "urn:problem-type:raysift:quota-exceeded"  # wait as long as Retry-After says


class InvalidValue(Answer):
    """A value of a request that is not valid, and why."""

    detail: str
    loc: str  # query.limit, body.uris.0
    pointer: str | None = None  # in a JSON body, as RFC 6901 has it: #/uris/0


class Problem(Answer):
    """The body of every error response: problem details (RFC 9457), sent as application/problem+json."""

    # the API always sends these four; a program that reads only `detail` also reads other servers' errors
    type: ProblemType | str = ProblemType.PLAIN
    title: str = ""
    status: int = 0
    instance: str | None = None  # the path of the request
    detail: str  # one sentence for the caller
    errors: tuple[InvalidValue, ...] | None = None  # of an invalid request, the first ones


class Health(Answer):
    """The liveness of the API."""

    status: Literal["ok"] = "ok"


class DetectorState(StrEnum):
    """Whether a detector answers, as `GET /v1/ready` reports it."""

    OK = "ok"  # it has just analysed its own example
    ASLEEP = "asleep"  # it has no replica, since it was idle: a call starts one
    BUSY = "busy"  # its example is queued behind other calls
    DOWN = "down"  # none of its replicas runs
    FAILING = "failing"  # it raises an error, or finds nothing in its own example
    SILENT = "silent"  # it has not answered for minutes, and no replica reports work

    @property
    def is_ready(self) -> bool:
        """Whether such a detector answers a call, if need be after a start."""
        return self in (DetectorState.OK, DetectorState.ASLEEP, DetectorState.BUSY)


class DetectorHealth(Answer):
    """The state of one detector, and a sentence that explains it."""

    state: DetectorState
    message: str


class Ready(Answer):
    """Whether every detector is ready, and the state of each."""

    ready: bool
    detectors: dict[str, DetectorHealth]


class DetectorInfo(Answer):
    """A detector that the API serves."""

    name: str
    model: str
    floor: float | None = None  # detections with a lower score are not kept
    modalities: list[Modality]
    events: tuple[dict[str, int], ...] = ()  # of each replica: event -> count


class Detection(Answer):
    """One thing that a detector found in a file."""

    detector: str
    model: str
    label: str
    score: float  # 0 to 1
    box: Box | None = None
    time_s: float | None = None  # of the frame
    span: Span | None = None  # when it was heard
    text: str | None = None  # that was read or heard
    evidence: str | None = None  # what it was compared with, and the distance
    carried: bool = False  # copied from the frame before, which is equal


class Label(Answer):
    """A label of a detector in one file: its best score and its number of detections."""

    detector: str
    label: str
    score: float
    count: int


class Outline(Answer):
    """A box to draw on a tile."""

    detector: str
    label: str
    score: float
    box: Box


class Failure(Answer):
    """Why a file failed, and at which step: fetch, decode, or a detector's name."""

    step: str
    reason: str


class FailureGroup(Failure):
    """Failures at the same step whose reasons differ only in numbers, addresses and quoted names.

    A file with several failures, such as those of its segments, counts for each.
    """

    count: int
    example: str  # id of a file that failed this way


class Segments(Answer):
    """The number of a long video's segments that are analysed, and of all."""

    done: int
    of: int


class Asset(Answer):
    """A file as lists show it, with its best labels and boxes."""

    id: str  # 32 hex digits
    uri: str
    name: str
    kind: Kind | None
    parent: str | None = None  # URI of the file of the bucket that contains it, such as an archive; None: it is in none
    width: int | None  # pixels
    height: int | None
    duration_s: float | None
    segments: Segments | None = None  # None: analysed as a whole
    analyzed_at: str
    has_thumbnail: bool
    bytes: int | None = None  # its size
    job: str | None = None  # that analysed it last
    decision: str | None = None  # the label of the present decision on it
    score: float | None  # the best score of the detections that match the query
    labels: list[Label]
    boxes: list[Outline]
    errors: list[Failure]


class File(Asset):
    """A file with all its detections."""

    sha256: str | None
    detections: list[Detection]


class Properties(Answer):
    """What a picture or recording says about itself. Nothing of it is verified; null: it does not say so."""

    captured_at: str | None = None  # in the time of the camera, with an offset if the file has it
    camera: str | None = None
    lens: str | None = None
    software: str | None = None
    position: Position | None = None
    altitude_m: float | None = None
    others: dict[str, str] = {}  # further tags, at most 60


class Neighbours(Answer):
    """The files before and after a file in a list, and its place in it; nulls: it is not in the list."""

    previous: str | None  # id
    next: str | None
    place: int | None  # from 1
    total: int  # files in the list


class Upload(Answer):
    """The detections in an uploaded file. Nothing of it is stored."""

    uri: str  # the file's name in the request
    sha256: str | None
    kind: Kind | None
    width: int | None
    height: int | None
    duration_s: float | None
    detections: list[Detection]
    errors: list[Failure]


class DetectorAnswer(Answer):
    """The detections of one detector in an uploaded file."""

    detector: str
    model: str
    detections: list[Detection]


class AssetPage(Answer):
    """One page of a list of files, and the number of files in the whole list."""

    total: int
    page: int  # from 1; 1 in an answer to `after`
    size: int
    items: list[Asset]
    next: str | None = None  # `after` of the next page; None: this is the last one
    latest: str | None = None  # id of the file that arrived last, of all files; None: there are none


class Facet(Answer):
    """The number of files that have a label of a detector, and its best score in them."""

    detector: str
    label: str
    count: int
    score: float


class Facets(Answer):
    """The number of files that match each value of a filter together with the other filters."""

    total: int
    kinds: dict[Kind, int]
    found_by: dict[str, int]  # by detector
    detectors: list[Facet]
    failed: int
    failures: tuple[FailureGroup, ...] = ()  # the most frequent ones
    decisions: dict[str, int] = {}  # files by what was decided; none: nothing yet. Empty if nothing was on any of them
    tags: dict[str, int] = {}  # files by tag of their decision


class Hit(Answer):
    """A file that a search found, how it matched, and the matching text and time."""

    asset: Asset
    score: float
    matched: str  # exact text, text, speech, picture, image, face, or words and picture
    detector: str | None = None  # whose text or vector matched; None: the file's name
    text: str | None
    time_s: float | None


class Hits(Answer):
    """The hits of a search: files with the words, then similar ones, each part best first.

    Notes name the parts of the search that failed or are not complete, and why.
    """

    hits: list[Hit]
    notes: tuple[str, ...] = ()
    picture: str | None = None  # of an upload: with it, who has sent it may search again for an hour


class LoadedRows(Answer):
    """The number of rows of results that were loaded into the catalogue."""

    rows: int


class ErasedCaches(Answer):
    """The erasure of the caches of detectors' answers. Nodes are named by host, Redis as "Redis"."""

    entries: dict[str, int]  # place -> number of erased entries
    failed: dict[str, str]  # place that may still hold entries -> the reason
    away: list[str]  # nodes that are down: each erases its file before it reads it again
