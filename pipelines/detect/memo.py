"""The memo: detectors' answers by the content of a file, so that the same bytes are not analysed twice."""

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

LAYOUT = 2  # version of keys and values; raise it when the sampling of files or the encoding changes
HIT, MISS = "in the cache", "not in the cache"
_DIGEST = 16  # bytes of the digest that precedes every value and detects damage

_FACTS = pa.schema(
    [
        SCHEMA.field(name)
        for name in ("kind", "width", "height", "duration_s", "frames", "frames_propagated", "thumbnail")
    ]
)
# a value is a few kilobytes: threads and zstd's contexts took 0.35 ms for each, this takes 0.05
_IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file, or of a segment of it: the key of the memo."""

    sha256: str
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What decoding returned for a content besides its samples."""

    kind: Kind
    width: int | None
    height: int | None
    duration_s: float | None
    frames: int
    frames_propagated: int
    thumbnail: bytes | None


MemoKey = tuple[Content, ModelVersion]
TextKey = tuple[str, ModelVersion]


class Memo:
    """Answers by content in a cache, for these decoding settings. Without a cache nothing is stored.

    `states`: detector -> what else its answers depend on; an answer stored under another state is not returned.
    """

    def __init__(self, cache: Cache | None, limits: Decoding, states: Mapping[str, str]) -> None:
        self.cache = cache
        self.states = states
        self.sampling = (limits.frames_per_s, limits.max_side_px, limits.same_below)

    def facts(self, contents: Iterable[Content]) -> dict[Content, Facts]:
        """The facts of those contents that are stored."""
        return self._lookup({content: self._content_key(content) for content in contents}, _decode_facts)

    def findings(self, keys: Iterable[MemoKey]) -> dict[MemoKey, list[Finding]]:
        """The findings of detectors in contents, where they are stored; without those of the text pass."""
        found = self._lookup({key: self._content_key(*key) for key in keys}, _decode_findings)
        return {
            key: findings for key, findings in found.items() if all(f.detector == key[1].detector for f in findings)
        }

    def passages(self, keys: Iterable[TextKey]) -> dict[TextKey, list[Detection]]:
        """The answers of text detectors to texts, where they are stored."""
        found = self._lookup({key: self._text_key(*key) for key in keys}, _decode_findings)
        return {key: [finding.detection for finding in findings] for key, findings in found.items()}

    def keep(self, facts: Mapping[Content, Facts], findings: Mapping[MemoKey, list[Finding]]) -> None:
        """Store complete answers: neither the decoding of the content nor the detector failed."""
        self._put({self._content_key(content): _encode([asdict(known)], _FACTS) for content, known in facts.items()})
        self._put(
            {
                self._content_key(*key): _encode([detection_row(finding) for finding in found], DETECTIONS)
                for key, found in findings.items()
            }
        )

    def keep_passages(self, answers: Mapping[TextKey, Iterable[Detection]]) -> None:
        """Store answers to texts."""
        if self.cache is None:
            return
        entries = {}
        for (text, version), detections in answers.items():
            rows = [detection_row(Finding(version.detector, version.model, detection)) for detection in detections]
            entries[self._text_key(text, version)] = _encode(rows, DETECTIONS)
        self._put(entries)

    def _content_key(self, content: Content, version: ModelVersion | None = None) -> str:
        part = content.segment
        bounds = part and (part.begin_s, part.end_s, part.before_s, part.sound_begin_s, part.sound_end_s)
        return repr((LAYOUT, content.sha256, bounds, self.sampling, version and self._version_key(version)))

    def _text_key(self, text: str, version: ModelVersion) -> str:
        return repr((LAYOUT, "text", blake2b(text.encode(), digest_size=32).hexdigest(), self._version_key(version)))

    def _version_key(self, version: ModelVersion) -> tuple[object, ...]:
        return version.detector, version.model, version.floor, self.states.get(version.detector)

    def _lookup(self, keys: Mapping[K, str], decode: Callable[[bytes], V | None]) -> dict[K, V]:
        """Item -> its value, by the items' keys in the cache; items whose value is missing or damaged are left out."""
        if self.cache is None:
            return {}
        held = self.cache.get(list(keys.values()))
        found = ((item, decode(held[key])) for item, key in keys.items() if key in held)
        return {item: value for item, value in found if value is not None}

    def _put(self, entries: dict[str, bytes]) -> None:
        if self.cache is not None:
            self.cache.put(entries)


def lookup_of(event: str) -> tuple[str, bool] | None:
    """The detector and whether it was a hit, of an event that `count_lookup` has counted; None for other events."""
    detector, _, what = event.partition(": ")
    return (detector, what == HIT) if what in (HIT, MISS) else None


def count_lookup(detector: str, hit: bool) -> None:
    """Count a look-up of a detector's answer in the cache as a hit or a miss."""
    events.count(f"{detector}: {HIT if hit else MISS}")


def _encode(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """A digest, followed by the rows as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_IPC_OPTIONS) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))
    value = sink.getvalue().to_pybytes()
    return blake2b(value, digest_size=_DIGEST).digest() + value


def _decode(value: bytes, schema: pa.Schema) -> list[dict[str, Any]] | None:
    """The rows of a value; None if it is damaged, or its layout is neither this version's nor the previous one's."""
    if blake2b(value[_DIGEST:], digest_size=_DIGEST).digest() != value[:_DIGEST]:
        return None
    try:
        table = codec.renamed(pa.ipc.open_stream(value[_DIGEST:]).read_all())
    except (pa.ArrowException, OSError):
        return None
    return table.to_pylist() if table.schema.equals(schema) else None


def _decode_facts(value: bytes) -> Facts | None:
    rows = _decode(value, _FACTS)
    return Facts(**rows[0]) if rows else None


def _decode_findings(value: bytes) -> list[Finding] | None:
    rows = _decode(value, DETECTIONS)
    return None if rows is None else [codec.finding(row) for row in rows]
