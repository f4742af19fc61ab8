"""What was answered for a content before, whatever its name was then: recalled instead of computed again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, TypeVar

import pyarrow as pa

from cluster.cache import Cache
from cluster.records import Detection, Finding, Kind, ModelVersion, Segment
from cluster.results import codec
from cluster.results.codec import DETECTIONS, SCHEMA, detection_row
from cluster.settings import Decoding
from deployments import events

LAYOUT = 1  # of keys and values; to be raised when what is sampled of a file, or how it is kept, changes
HIT, MISS = "in the cache", "not in the cache"
_DIGEST = 16  # bytes before every value, so that a damaged one is known before it is read

_FACTS = pa.schema(
    [
        SCHEMA.field(name)
        for name in ("kind", "width", "height", "duration_s", "frames", "frames_propagated", "thumbnail")
    ]
)
_WRITTEN = pa.ipc.IpcWriteOptions(compression="zstd")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Content:
    """What was decoded: the bytes of a file, or of a segment of it."""

    sha256: str
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What decoding told of a content, besides its samples."""

    kind: Kind
    width: int | None
    height: int | None
    duration_s: float | None
    frames: int
    frames_propagated: int
    thumbnail: bytes | None


Asking = tuple[Content, ModelVersion]
Passage = tuple[str, ModelVersion]


class Memory:
    """A cache in terms of contents, for these settings of decoding. Without a cache nothing is remembered.

    `states`, by detector: an answer is given again only where it is what it was.
    """

    def __init__(self, cache: Cache | None, limits: Decoding, states: Mapping[str, str]) -> None:
        self.cache = cache
        self.states = states
        self.sampling = (limits.frames_per_s, limits.max_side_px, limits.same_below)

    def facts(self, contents: Iterable[Content]) -> dict[Content, Facts]:
        """Those that are known."""
        return self._got({one: self._of_content(one) for one in contents}, _unpacked_facts)

    def findings(self, asked: Iterable[Asking]) -> dict[Asking, list[Finding]]:
        """What the detectors themselves found in these contents, where they have answered; before words are taken."""
        found = self._got({one: self._of_content(*one) for one in asked}, _unpacked)
        return {
            one: findings for one, findings in found.items() if all(f.detector == one[1].detector for f in findings)
        }

    def passages(self, asked: Iterable[Passage]) -> dict[Passage, list[Detection]]:
        """What those who take words answered for these texts."""
        found = self._got({one: self._of_passage(*one) for one in asked}, _unpacked)
        return {one: [finding.detection for finding in findings] for one, findings in found.items()}

    def keep(self, facts: Mapping[Content, Facts], findings: Mapping[Asking, list[Finding]]) -> None:
        """Remember answers that are whole: nothing failed in decoding the content or in that detector."""
        self._put({self._of_content(one): _packed([asdict(known)], _FACTS) for one, known in facts.items()})
        self._put(
            {
                self._of_content(*one): _packed([detection_row(finding) for finding in found], DETECTIONS)
                for one, found in findings.items()
            }
        )

    def keep_passages(self, answers: Mapping[Passage, Iterable[Detection]]) -> None:
        """Remember answers to texts."""
        entries = {}
        for (text, by), found in answers.items():
            rows = [detection_row(Finding(by.detector, by.model, detection)) for detection in found]
            entries[self._of_passage(text, by)] = _packed(rows, DETECTIONS)
        self._put(entries)

    def _of_content(self, content: Content, by: ModelVersion | None = None) -> str:
        part = content.segment
        bounds = part and (part.begin_s, part.end_s, part.before_s, part.sound_begin_s, part.sound_end_s)
        return repr((LAYOUT, content.sha256, bounds, self.sampling, by and self._whose(by)))

    def _of_passage(self, text: str, by: ModelVersion) -> str:
        return repr((LAYOUT, "text", blake2b(text.encode(), digest_size=32).hexdigest(), self._whose(by)))

    def _whose(self, by: ModelVersion) -> tuple[object, ...]:
        return by.detector, by.model, by.floor, self.states.get(by.detector)

    def _got(self, keys: Mapping[K, str], unpacked: Callable[[bytes], V | None]) -> dict[K, V]:
        if self.cache is None:
            return {}
        held = self.cache.get(list(keys.values()))
        found = ((one, unpacked(held[key])) for one, key in keys.items() if key in held)
        return {one: value for one, value in found if value is not None}

    def _put(self, entries: dict[str, bytes]) -> None:
        if self.cache is not None:
            self.cache.put(entries)


def to_metric() -> Callable[[str, int], None]:
    """What tells hits and misses to Ray's metrics as `raysift_cache`, by detector and outcome; for counting.listen."""
    from ray.util.metrics import Counter

    metric = Counter("raysift_cache", "answers asked of the cache", tag_keys=("detector", "outcome"))

    def hear(event: str, by: int) -> None:
        detector, _, what = event.partition(": ")
        if what in (HIT, MISS):
            metric.inc(by, {"detector": detector, "outcome": "hit" if what == HIT else "miss"})

    return hear


def counted(detector: str, hit: bool) -> None:
    """Count whether a detector's answer for a content was in the cache."""
    events.count(f"{detector}: {HIT if hit else MISS}")


def _packed(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_WRITTEN) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))
    value = sink.getvalue().to_pybytes()
    return blake2b(value, digest_size=_DIGEST).digest() + value


def _rows(value: bytes, schema: pa.Schema) -> list[dict[str, Any]] | None:
    """None: it is damaged, or has another layout than this version and the one before it."""
    if blake2b(value[_DIGEST:], digest_size=_DIGEST).digest() != value[:_DIGEST]:
        return None
    try:
        table = codec.renamed(pa.ipc.open_stream(value[_DIGEST:]).read_all())
    except (pa.ArrowException, OSError):
        return None
    return table.to_pylist() if table.schema.equals(schema) else None


def _unpacked_facts(value: bytes) -> Facts | None:
    rows = _rows(value, _FACTS)
    return Facts(**rows[0]) if rows else None


def _unpacked(value: bytes) -> list[Finding] | None:
    rows = _rows(value, DETECTIONS)
    return None if rows is None else [codec.finding(row) for row in rows]
