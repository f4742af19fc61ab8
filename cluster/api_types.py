"""The shapes of what the HTTP API answers: response models of its routes, types of its clients.

Times of day are ISO 8601 in UTC, durations and places in a recording are seconds, boxes are fractions of the frame.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cluster.records import Kind, Modality

Box = tuple[float, float, float, float]  # left, top, right, bottom
Span = tuple[float, float]  # start, end


class Answer(BaseModel):
    """What all answers share: they are not changed, and fields that a newer API adds are passed over."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """The body of every answer that is an error: one sentence for the caller."""

    detail: str


class Health(Answer):
    """The API is alive."""

    status: Literal["ok"] = "ok"


class DetectorState(StrEnum):
    """Whether a detector answers, as `GET /v1/ready` says it."""

    OK = "ok"  # it has just answered its own example
    ASLEEP = "asleep"  # it has no replica because nobody asks: a call starts one
    BUSY = "busy"  # its example waits behind the calls that it works on
    DOWN = "down"  # none of its replicas runs
    FAILING = "failing"  # it raises, or finds nothing on its own example
    SILENT = "silent"  # it has not answered for minutes, and no replica says that it works

    @property
    def is_ready(self) -> bool:
        """Whether such a detector answers, now or when it is asked."""
        return self in (DetectorState.OK, DetectorState.ASLEEP, DetectorState.BUSY)


class DetectorHealth(Answer):
    """The state of one detector, and a sentence that explains it."""

    state: DetectorState
    message: str


class Ready(Answer):
    """Whether every detector answers, now or when it is asked, and how each of them is."""

    ready: bool
    detectors: dict[str, DetectorHealth]


class DetectorInfo(Answer):
    """A detector that the API serves."""

    name: str
    model: str
    floor: float | None = None  # weaker detections are not kept
    modalities: list[Modality]
    events: tuple[dict[str, int], ...] = ()  # what each of its replicas has counted, by event


class Detection(Answer):
    """One thing that a detector found in a file."""

    detector: str
    model: str
    label: str
    score: float  # 0 to 1
    box: Box | None = None
    time_s: float | None = None  # of the frame it was seen in
    span: Span | None = None  # in which it was heard
    text: str | None = None  # what was read or said
    evidence: str | None = None  # why: what it was compared with, and how near it came
    carried: bool = False  # taken over from the frame before, which looked the same


class Label(Answer):
    """A label of a detector in one file: its best score there, and how many detections have it."""

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
    """What went wrong with a file, at which step: fetch, decode, or a detector's name."""

    step: str
    reason: str


class Segments(Answer):
    """How many of a long video's segments are analysed, and how many there are."""

    done: int
    of: int


class Asset(Answer):
    """A file as lists show it, with its best labels and boxes."""

    id: str  # 32 hex digits
    uri: str
    name: str
    kind: Kind | None
    width: int | None  # pixels
    height: int | None
    duration_s: float | None
    segments: Segments | None = None  # None: it was analysed as a whole
    analyzed_at: str
    has_thumbnail: bool
    score: float | None  # the best of the detections that were asked for
    labels: list[Label]
    boxes: list[Outline]
    errors: list[Failure]


class File(Asset):
    """All that is known of one file."""

    sha256: str | None
    detections: list[Detection]


class Upload(Answer):
    """What was found in an uploaded file, of which nothing is kept."""

    uri: str  # the name it was sent by
    sha256: str | None
    kind: Kind | None
    width: int | None
    height: int | None
    duration_s: float | None
    detections: list[Detection]
    errors: list[Failure]


class DetectorAnswer(Answer):
    """What one detector found in an uploaded file."""

    detector: str
    model: str
    detections: list[Detection]


class AssetPage(Answer):
    """One page of the list of files, and how many files the whole list has."""

    total: int
    page: int  # from 1
    size: int
    items: list[Asset]


class Facet(Answer):
    """How many files have a label of a detector."""

    detector: str
    label: str
    count: int


class Facets(Answer):
    """How many files each choice of a filter would leave, under the other filters."""

    total: int
    kinds: dict[Kind, int]
    found_by: dict[str, int]  # by detector
    detectors: list[Facet]
    failed: int


class Hit(Answer):
    """A file that a search found, how it matched, and the line and time that did."""

    asset: Asset
    score: float
    matched: str  # exact text, text, speech, picture, image or face
    detector: str | None = None  # whose text or vector matched; None: the file's name
    text: str | None
    time_s: float | None


class Hits(Answer):
    """What a search found, best first; notes say which part of it could not be made, and why."""

    hits: list[Hit]
    notes: tuple[str, ...] = ()


class LoadedRows(Answer):
    """How many rows of results the catalogue took in."""

    rows: int


class ErasedCaches(Answer):
    """What was erased from the caches of detectors' answers. Nodes are named by host, Redis as "Redis"."""

    entries: dict[str, int]  # place -> entries that were erased
    failed: dict[str, str]  # place that may still hold entries -> the reason
    away: list[str]  # nodes that are down: each erases its file before it reads it again


class ForgottenHits(Answer):
    """How many detections of a person the catalogue has left out."""

    hits: int
