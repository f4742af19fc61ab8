"""What the API answers, as the app reads it."""

from enum import StrEnum
from typing import NotRequired, TypedDict


class Detection(TypedDict):
    """One thing that a detector found. Boxes are fractions of the frame, times seconds."""

    detector: str
    model: str
    label: str
    score: float
    box: list[float] | None  # left, top, right, bottom
    time_s: float | None
    span: list[float] | None
    text: str | None
    evidence: NotRequired[str | None]


class Label(TypedDict):
    """The best detection of a label in a file, and how many there are."""

    detector: str
    label: str
    score: float
    count: int


class Outline(TypedDict):
    """A box to draw on a tile."""

    detector: str
    label: str
    score: float
    box: list[float]


class Failure(TypedDict):
    """What went wrong with a file, at which step."""

    step: str
    reason: str


class Segments(TypedDict):
    """Of a long video: how many of its segments are analysed, and how many there are."""

    done: int
    of: int


class Asset(TypedDict):
    """A file as lists show it."""

    id: str
    uri: str
    name: str
    kind: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    segments: NotRequired[Segments | None]
    analyzed_at: str | None
    has_thumbnail: bool
    score: float | None
    labels: list[Label]
    boxes: list[Outline]
    errors: list[Failure]


class File(TypedDict):
    """All that is known of a file; an upload has no id, name or time of analysis."""

    id: NotRequired[str]
    uri: str
    name: NotRequired[str]
    kind: str | None
    sha256: str | None
    size: NotRequired[int | None]
    width: int | None
    height: int | None
    duration_s: float | None
    segments: NotRequired[Segments | None]
    analyzed_at: NotRequired[str | None]
    has_thumbnail: NotRequired[bool]
    detections: list[Detection]
    errors: list[Failure]


class Page(TypedDict):
    """One page of the list of files."""

    total: int
    page: int
    size: int
    items: list[Asset]


class Facet(TypedDict):
    """How many files have a label of a detector."""

    detector: str
    label: str
    count: int


class Facets(TypedDict):
    """The counts beside the filters."""

    total: int
    kinds: dict[str, int]
    found_by: dict[str, int]
    detectors: list[Facet]
    failed: int


class Hit(TypedDict):
    """A file that a search found, how, and the line and time that matched."""

    asset: Asset
    score: float
    matched: str
    text: str | None
    time_s: float | None


class DetectorInfo(TypedDict):
    """A detector that the API serves."""

    name: str
    model: str
    modalities: list[str]


class DetectorSpent(TypedDict):
    """What a detector's answers took. Reused: contents that were answered for before."""

    detector: str
    units: int
    reused: int
    seconds: float
    gpu_seconds: float
    cost: float | None


class Reason(TypedDict):
    """Failures that are alike, with one of the files."""

    step: str
    reason: str
    units: int
    example: str


class Report(TypedDict):
    """What a job did, what it took and what failed in it."""

    files: float
    frames: int
    frames_carried: int
    files_per_s: float
    bytes_per_s: float
    detectors: list[DetectorSpent]
    failures: list[Reason]
    cost: float | None
    cost_per_1000_files: float | None


class Job(TypedDict):
    """A scan and how far it is."""

    job: str
    state: str
    uris: list[str]
    out: str | None
    priority: str
    units: int | None
    done: int
    failed: int
    skipped: int
    seconds: float | None
    message: str | None
    submitted_at: str | None
    report: NotRequired[Report | None]  # of one job that is over; a list leaves it out


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


class DetectorHealth(TypedDict):
    """The state of one detector, and a sentence that explains it."""

    state: DetectorState
    message: str
