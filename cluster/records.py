"""The records that travel, and the one Arrow schema of a stored result."""

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
    """A detection and who made it. Carried: the frame looked like the one before and was not analysed again."""

    detector: str
    model: str
    detection: Detection
    carried: bool = False


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
class Spent:
    """What a detector's answer for a unit cost."""

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
    frames_carried: int = 0  # of these, not analysed again
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    model_versions: tuple[ModelVersion, ...] = ()
    spent: tuple[Spent, ...] = ()
    thumbnail: bytes | None = None  # JPEG, at most 320 px; the whole of it, unblurred


def current_space(name: str) -> Space:
    """The current name of a vector space. Former names (looks, words) are replaced, anything else is returned as is."""
    return cast(Space, _FORMER_SPACES.get(name, name) if isinstance(name, str) else name)


def asset_id(uri: str) -> str:
    """The name of a file in URLs: 32 hex digits, the same for the same URI for ever."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


_DETECTION = pa.struct(
    [
        ("detector", pa.string()),
        ("model", pa.string()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32())),
        ("time_s", pa.float64()),
        ("span", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("carried", pa.bool_()),
        ("vectors", pa.list_(pa.struct([("space", pa.string()), ("values", pa.list_(pa.float32()))]))),
    ]
)

_SPENT = pa.struct(
    [("detector", pa.string()), ("seconds", pa.float64()), ("gpu_seconds", pa.float64()), ("reused", pa.bool_())]
)

SCHEMA = pa.schema(
    [
        ("unit_id", pa.int64()),  # unique in a job; Ray's checkpoint goes by it
        ("job", pa.string()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("kind", pa.string()),
        # of a long video, one row a segment, numbered from 0; all null where the row is for the whole file
        ("segment", pa.int32()),
        ("segments", pa.int32()),
        ("segment_s", pa.float64()),  # the length it was cut by: rows of another length are another cut's
        ("begin_s", pa.float64()),
        ("end_s", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("duration_s", pa.float64()),
        ("frames", pa.int32()),
        ("frames_carried", pa.int32()),
        ("detections", pa.list_(_DETECTION)),
        ("errors", pa.list_(pa.struct([("step", pa.string()), ("reason", pa.string())]))),
        (
            "analyzers",
            pa.list_(pa.struct([("detector", pa.string()), ("model", pa.string()), ("floor", pa.float32())])),
        ),
        ("spent", pa.list_(_SPENT)),
        ("thumbnail", pa.binary()),
        ("analyzed_at", pa.timestamp("us", tz="UTC")),
    ]
)


def to_row(result: Result, unit_id: int, job: str) -> dict[str, Any]:
    """The row of SCHEMA that says what the result says."""
    part = result.segment
    return {
        "unit_id": unit_id,
        "job": job,
        "uri": result.item.uri,
        "size": result.item.size,
        "etag": result.item.etag,
        "sha256": result.sha256,
        "kind": result.item.kind,
        "segment": part.n if part else None,
        "segments": part.of if part else None,
        "segment_s": part.length_s if part else None,
        "begin_s": part.begin_s if part else None,
        "end_s": part.end_s if part else None,
        "width": result.width,
        "height": result.height,
        "duration_s": result.duration_s,
        "frames": result.frames,
        "frames_carried": result.frames_carried,
        "detections": [detection_row(finding) for finding in result.findings],
        "errors": [{"step": f.step, "reason": f.reason} for f in result.failures],
        "analyzers": [asdict(model_version) for model_version in result.model_versions],
        "spent": [asdict(spent) for spent in result.spent],
        "thumbnail": result.thumbnail,
        "analyzed_at": datetime.now(UTC),
    }


def detection_row(finding: Finding) -> dict[str, Any]:
    """The struct that SCHEMA nests under `detections`."""
    found = finding.detection
    return {
        "detector": finding.detector,
        "model": finding.model,
        "label": found.label,
        "score": found.score,
        "box": None if found.box is None else list(found.box),
        "time_s": found.time_s,
        "span": None if found.span is None else list(found.span),
        "text": found.text,
        "evidence": found.evidence,
        "carried": finding.carried,
        "vectors": [{"space": v.space, "values": list(v.values)} for v in found.vectors],
    }
