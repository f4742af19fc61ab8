"""The records that travel between the parts: media, samples, detections, results."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

Kind = Literal["image", "video", "audio"]
Modality = Literal["image", "sound", "text"]
Space = Literal["image", "text", "faces"]  # vectors are comparable only within one space
Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the frame
Span = tuple[float, float]  # start, end in seconds

SOUND_RATE_HZ = 16_000
_FORMER_SPACES = {"looks": "image", "words": "text"}  # still in rows, caches, settings and addresses of before 0.2


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One file of a bucket, as listing found it. A kind of None is sniffed from its bytes."""

    uri: str
    size: int  # bytes
    etag: str  # changes when the content does
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a long video that is analysed by itself. A file's segments meet without gap or overlap."""

    n: int  # from 0
    of: int  # how many there are
    length_s: float  # what the file was cut by; cut by another length, it has other segments
    begin_s: float  # its pictures: from this one, a key frame, ...
    end_s: float | None  # ... to before this one; None: to the end
    before_s: float | None  # the last picture before begin_s; None: there is none
    sound_begin_s: float  # its sound: from a quiet moment near begin_s ...
    sound_end_s: float | None  # ... to the one near end_s


@dataclass(frozen=True, slots=True)
class Sample:
    """What a detector looks at: exactly one of pixels, sound and text is set."""

    pixels: npt.NDArray[np.uint8] | None = None  # (height, width, 3) RGB
    sound: npt.NDArray[np.float32] | None = None  # (n,) mono at SOUND_RATE_HZ, -1 to 1
    text: str | None = None
    time_s: float | None = None  # where it begins in its file; None for a still image

    @property
    def modality(self) -> Modality:
        """Which of the three fields is set."""
        return "image" if self.pixels is not None else "sound" if self.sound is not None else "text"


@dataclass(frozen=True, slots=True)
class Vector:
    """An embedding and the space in which it may be compared. Former names of spaces are accepted and replaced."""

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
    time_s: float | None = None  # the frame it was seen in
    span: Span | None = None  # from when to when it was heard
    text: str | None = None  # what was read or said
    evidence: str | None = None  # why: what it was compared with, and how near it came; for people to judge by
    vectors: tuple[Vector, ...] = ()

    def at(self, time_s: float | None) -> "Detection":
        """The same, moved from its sample's own time to that of the file."""
        if time_s is None:
            return self
        if self.span is None:
            return replace(self, time_s=time_s)
        return replace(self, span=(self.span[0] + time_s, self.span[1] + time_s))


@dataclass(frozen=True, slots=True)
class Finding:
    """A detection and the detector and model that made it.

    Propagated: the frame looks like the one before, was not analysed, and has that one's detections.
    """

    detector: str
    model: str
    detection: Detection
    propagated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one file, at which step, in a plain sentence."""

    step: str  # fetch, decode, or the detector's name
    reason: str


Answer = list[Detection] | Failure  # a detector's answer for a sample, or why there is none


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A detector that has answered for a file, and by which model: it need not be asked again."""

    detector: str
    model: str
    floor: float | None = None  # weaker findings were not kept; None in rows of before floors were noted

    def covers(self, wanted: "ModelVersion") -> bool:
        """Whether this answer holds all that the wanted one would: the same model, and a floor that is no higher."""
        same = (self.detector, self.model) == (wanted.detector, wanted.model)
        return same and (self.floor is None or wanted.floor is None or self.floor <= wanted.floor + 1e-6)


@dataclass(frozen=True, slots=True)
class Usage:
    """The computing time that a detector's answer for a unit took."""

    detector: str
    seconds: float  # that a replica worked on it
    gpu_seconds: float  # of these, by the share of a card that the replica holds
    reused: bool = False  # this content had been answered for before: it was not asked again


@dataclass(frozen=True, slots=True)
class Result:
    """All that is known of one unit, a file or a segment of one, after its analysis: one row, whatever happened."""

    item: MediaItem
    segment: Segment | None = None  # None: the whole file
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    frames: int = 0  # sampled from it
    frames_propagated: int = 0  # of these, not analysed: they have the detections of the frame before
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    model_versions: tuple[ModelVersion, ...] = ()
    usage: tuple[Usage, ...] = ()
    thumbnail: bytes | None = None  # JPEG, at most 320 px; the whole of it, unblurred


def current_space(name: str) -> Space:
    """The current name of a vector space. Former names (looks, words) are replaced, anything else is returned as is."""
    return cast(Space, _FORMER_SPACES.get(name, name) if isinstance(name, str) else name)


def asset_id(uri: str) -> str:
    """The name of a file in URLs: 32 hex digits, the same for the same URI for ever."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]
