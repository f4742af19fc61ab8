"""The records that all packages exchange: media, samples, detections, results."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast, get_args

if TYPE_CHECKING:  # the command line needs these records, and does not wait for numpy
    import numpy as np
    import numpy.typing as npt

Kind = Literal["image", "video", "audio", "container"]  # container: an archive, document or mailbox
Modality = Literal["image", "sound", "text"]
Space = Literal["image", "text", "faces"]  # vectors are comparable only within one space
Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the frame
Span = tuple[float, float]  # start, end in seconds

JobState = Literal["waiting", "listing", "running", "blocked", "finished", "failed", "cancelled"]
ACTIVE: tuple[JobState, ...] = ("listing", "running", "blocked")
OVER: tuple[JobState, ...] = ("finished", "failed", "cancelled")
Priority = Literal["urgent", "normal", "bulk"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)  # the most urgent first

ExportFormat = Literal["jsonl", "csv", "parquet", "coco"]
ReportFormat = Literal["html", "pdf"]
Pictures = Literal["blurred", "plain", "none"]  # of a report

SOUND_RATE_HZ = 16_000
COLOCATED = "+"  # joins the names of the detectors that share a deployment, in its name
_FORMER_SPACES = {"looks": "image", "words": "text"}  # in rows, caches, settings and URLs of versions before 0.2


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One file of a bucket, as a listing reports it. If `kind` is None, it is detected from the content."""

    uri: str
    size: int  # bytes
    etag: str  # changes when the content does
    kind: Kind | None = None
    parent: str | None = None  # of a member: URI of the file of the bucket that contains it, however deep


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a long video that is analysed separately. A file's segments join without gap or overlap."""

    n: int  # index, from 0
    of: int  # number of segments of the file
    length_s: float  # target length of the cut; another length gives other segments
    begin_s: float  # first frame, a key frame
    end_s: float | None  # the frame after the last one; None: the end of the file
    before_s: float | None  # the last frame before begin_s; None: there is none
    sound_begin_s: float  # start of its sound, a quiet moment near begin_s
    sound_end_s: float | None  # end of its sound, a quiet moment near end_s


@dataclass(frozen=True, slots=True)
class Sample:
    """The input of a detector: exactly one of pixels, sound and text is set."""

    pixels: "npt.NDArray[np.uint8] | None" = None  # (height, width, 3) RGB
    sound: "npt.NDArray[np.float32] | None" = None  # (n,) mono at SOUND_RATE_HZ, -1 to 1
    text: str | None = None
    time_s: float | None = None  # its start in the file; None for a still image
    track: str | None = None  # of a file with several: sound track 2 (spa)

    @property
    def modality(self) -> Modality:
        """Which of the three fields is set."""
        return "image" if self.pixels is not None else "sound" if self.sound is not None else "text"


@dataclass(frozen=True, slots=True)
class Vector:
    """An embedding and its vector space. Former names of spaces are replaced by the current ones."""

    space: Space
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "space", current_space(self.space))


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that a detector found in a sample."""

    label: str
    score: float  # 0 to 1
    box: Box | None = None
    time_s: float | None = None  # of the frame
    span: Span | None = None  # when it was heard
    text: str | None = None  # that was read or heard
    evidence: str | None = None  # for reviewers: what it was compared with, and the distance
    vectors: tuple[Vector, ...] = ()

    def of(self, sample: Sample) -> "Detection":
        """The detection with times of the file, and with the track of the sample, if it has one, as evidence."""
        placed = self.at(sample.time_s)
        if sample.track is None:
            return placed
        return replace(placed, evidence="; ".join(filter(None, (sample.track, self.evidence))))

    def at(self, time_s: float | None) -> "Detection":
        """The same detection with times of the file, in which its sample starts at `time_s`; None: unchanged."""
        if time_s is None:
            return self
        if self.span is None:
            return replace(self, time_s=time_s)
        return replace(self, span=(self.span[0] + time_s, self.span[1] + time_s))


@dataclass(frozen=True, slots=True)
class Finding:
    """A detection and the detector and model that made it.

    Propagated: the frame equals the one before, so it was not analysed and has the detections of that one.
    """

    detector: str
    model: str
    detection: Detection
    propagated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step of the analysis of one file failed, in one sentence."""

    step: str  # fetch, decode, or the detector's name
    reason: str


Answer = list[Detection] | Failure  # a detector's detections in a sample, or why there are none


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A detector that has analysed a file, and its model; the file need not be analysed by them again."""

    detector: str
    model: str
    floor: float | None = None  # detections with a lower score were not kept; None in rows older than this field

    def covers(self, wanted: "ModelVersion") -> bool:
        """Whether this answer includes all that `wanted` would: the same model, and a floor that is not higher."""
        same = (self.detector, self.model) == (wanted.detector, wanted.model)
        return same and (self.floor is None or wanted.floor is None or self.floor <= wanted.floor + 1e-6)


@dataclass(frozen=True, slots=True)
class Usage:
    """The computing time of a detector's answer for one unit."""

    detector: str
    seconds: float  # of work in a replica
    gpu_seconds: float  # the seconds times the replica's share of a GPU
    reused: bool = False  # the answer came from the cache


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the analysis of one unit, a file or a segment of one: always one row, also if it failed."""

    item: MediaItem
    segment: Segment | None = None  # None: the whole file
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    frames: int = 0  # number of sampled frames
    frames_propagated: int = 0  # of these, not analysed: they have the detections of the frame before them
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    model_versions: tuple[ModelVersion, ...] = ()
    usage: tuple[Usage, ...] = ()
    members: int | None = None  # of a file that is a container: how many units lie in it, at any depth
    thumbnail: bytes | None = None  # JPEG of the whole picture, at most 320 px a side, not blurred


def current_space(name: str) -> Space:
    """The current name of a vector space. Former names (looks, words) are replaced, anything else is returned as is."""
    return cast(Space, _FORMER_SPACES.get(name, name) if isinstance(name, str) else name)


def iso_time(seconds: float) -> str:
    """A time in seconds since 1970 as ISO 8601, in UTC with milliseconds: 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asset_id(uri: str) -> str:
    """The id of a file in URLs: 32 hex digits that depend only on its URI."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]
