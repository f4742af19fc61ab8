"""The ledger of a job: folders and buckets listed lazily into work units, without those that are stored already."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from cluster.records import Kind, MediaItem, ModelVersion, Segment
from cluster.results.merge import Known
from cluster.results.rolling_writer import Shards
from cluster.storage import buckets
from cluster.storage.listing import LeftOut, list_media, log_left_out
from cluster.storage.roots import Roots
from pipelines.ledger.left_out import LeftOutFiles
from pipelines.ledger.recognizing import Recognizer, recognizer
from pipelines.ledger.stored import Stored

# Why a unit is analysed. If several reasons apply, the first of this list is given.
Reason = Literal[
    "new",  # nothing is stored for this URI
    "changed",  # the stored results are of another content: the ETag differs
    "failed before",  # a detector has no answer, and the newest row has an error
    "unfinished",  # a long video of which some segments have no answer
    "new model",  # another model of a detector has answered
    "lower floor",  # the model has answered, but with a higher floor than is set now
    "new detector",  # a detector that never analysed this content
]

SEGMENT = pa.struct(
    [
        ("n", pa.int32()),
        ("of", pa.int32()),
        ("length_s", pa.float64()),
        ("begin_s", pa.float64()),
        ("end_s", pa.float64()),
        ("before_s", pa.float64()),
        ("sound_begin_s", pa.float64()),
        ("sound_end_s", pa.float64()),
    ]
)

LEDGER = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("kind", pa.string()),
        ("detectors", pa.list_(pa.string())),  # those that are to analyse the unit
        ("reason", pa.string()),
        ("sha256", pa.string()),  # of the file; null except for segments, whose file was read to cut it
        ("segment", SEGMENT),  # null: the unit is the whole file
        ("parent", pa.string()),  # of a member of a container: URI of the file that contains it, however deep
        ("members", pa.int32()),  # of such a file: how many units lie in it
        # of a container: what of it was not looked at, and what else is in it, in words
        ("failures", pa.list_(pa.struct([("step", pa.string()), ("reason", pa.string())]))),
        ("contents", pa.string()),
    ]
)

# files that may be cut: such a row becomes one row of LEDGER per segment, or one row for the whole file
UNCUT = pa.schema(
    [
        *LEDGER,
        ("everything", pa.list_(pa.string())),  # detectors for a segment without stored results
        # stored segments of this content and length, each with the detectors that have answered
        ("answered", pa.list_(pa.struct([("segment", pa.int32()), ("detectors", pa.list_(pa.string()))]))),
    ]
)

OF_RESULTS = "it lies in the folder of this job's results"
BATCH = 10_000  # files in memory at a time
# smaller files are not cut: probing them costs as much as analysing them whole. A file without a suffix is probed
# only if it is larger than pictures usually are. Every container is opened
CUT_FROM_BYTES: dict[Kind | None, int] = {"video": 1_000_000, "container": 0, None: 16_000_000}


@dataclass(slots=True)
class Unit:
    """A file that has to be analysed, and why."""

    item: MediaItem
    missing: tuple[str, ...]  # the detectors that are to be asked, by name
    reason: Reason
    known: Known | None  # what is stored of it; None: nothing


@dataclass(frozen=True, slots=True)
class Listed:
    """Counts of a listing."""

    units: int  # in the ledger
    videos: int  # to be probed and cut before their units are known
    skipped: int  # unchanged, and answered by every detector already
    left_out: int = 0  # neither: files without media, links to nothing, folders that cannot be listed and so on

    @property
    def listed(self) -> int:
        """All files, and the folders that could not be listed."""
        return self.units + self.videos + self.skipped + self.left_out


@dataclass(frozen=True, slots=True)
class Places:
    """Where a listing looks."""

    uris: tuple[str, ...]
    out: str = ""  # the folder of results, which is no evidence; empty: none
    exclude: tuple[str, ...] = ()  # patterns of names that are left out
    roots: Roots | None = None  # only what lies under these is listed; None: everything


def unit_id(uri: str, etag: str, segment: Segment | None = None) -> int:
    """The id of a unit in ledger, results and checkpoint: equal for the same content of a file with the same cut."""
    name = f"{uri}\0{etag}"
    if segment is not None:
        name += f"\0{segment.n}\0{float(segment.length_s)}"  # 60 and 60.0 are one length
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


def write_ledger(
    places: Places,
    ledger: str,
    uncut: str,
    left_out: LeftOutFiles,
    stored: Stored,
    wanted: Mapping[str, ModelVersion],
    segment_s: float,
    s3_endpoint: str | None,
    tell: Callable[[int], None] | None = None,
) -> Listed:
    """List all files at the places into Parquet files: of LEDGER in the folder `ledger`, of UNCUT in `uncut`.

    A unit names only the detectors without an answer for this content that covers `wanted`. What becomes no unit is
    added to `left_out`. `tell` is called after each batch with the number of files listed. SettingsError names a URI
    that does not exist, cannot be listed or may not be read.
    """
    units = videos = skipped = 0
    with Shards(ledger, LEDGER, s3_endpoint) as whole, Shards(uncut, UNCUT, s3_endpoint) as to_cut:
        for owed, unchanged in units_of(places, stored, wanted, segment_s, s3_endpoint, left_out.add):
            cuttable = [unit for unit in owed if _may_be_cut(unit.item)]
            settled = [unit for unit in owed if not _may_be_cut(unit.item)]
            whole.add(_ledger_rows(settled, wanted))
            to_cut.add(_uncut_rows(cuttable, wanted, stored, segment_s))
            units, videos, skipped = units + len(settled), videos + len(cuttable), skipped + unchanged
            if tell:
                tell(units + videos + skipped + left_out.count)
    return Listed(units, videos, skipped, left_out.count)


def units_of(
    places: Places,
    stored: Stored,
    wanted: Mapping[str, ModelVersion],
    segment_s: float,
    s3_endpoint: str | None,
    left_out: LeftOut = log_left_out,
) -> Iterator[tuple[list[Unit], int]]:
    """Batches of (files to be analysed, number of unchanged files); a batch is made of up to BATCH files."""
    listed = (
        item
        for uri in _outermost(places.uris)
        for item in list_media(uri, s3_endpoint, places.roots, left_out, places.exclude)
    )
    decided: dict[Known | None, tuple[tuple[str, ...], Reason] | None] = {}  # a cache: there are few different values
    with recognizer(s3_endpoint, places.roots, left_out) as told_by_bytes:
        while items := list(islice(listed, BATCH)):
            evidence = [item for item in items if not _is_of_results(item, places, left_out)]
            units = []
            for item, known in zip(evidence, stored.known([(item.uri, item.etag) for item in evidence]), strict=True):
                if known not in decided:
                    decided[known] = _decide(known, wanted, segment_s)
                if owed := decided[known]:
                    units.append(Unit(item, *owed, known))
            yield _with_media(units, places, told_by_bytes), len(evidence) - len(units)


def _is_of_results(item: MediaItem, places: Places, left_out: LeftOut) -> bool:
    if not places.out or not item.uri.startswith(f"{places.out}/"):
        return False
    left_out(item.uri, OF_RESULTS)
    return True


def _with_media(units: list[Unit], places: Places, told_by_bytes: Recognizer) -> list[Unit]:
    """The units whose files hold media, with their kind; a file that a URI names itself is always one of them."""
    named = {f"{uri}/" for uri in _outermost(places.uris)}
    unsure = [unit for unit in units if f"{unit.item.uri}/" not in named]
    told = iter(told_by_bytes.recognized([unit.item for unit in unsure]))
    kept = []
    for unit in units:
        item = told_by_bytes.named(unit.item) if f"{unit.item.uri}/" in named else next(told)
        if item is not None:
            kept.append(replace(unit, item=item))
    return kept


def _decide(
    known: Known | None, wanted: Mapping[str, ModelVersion], segment_s: float
) -> tuple[tuple[str, ...], Reason] | None:
    """The detectors that still have to answer for a file with the stored results `known`, and why; None if none."""
    everything = tuple(sorted(wanted))
    if known is None or known.changed:
        return everything, "new" if known is None else "changed"
    have = {version.detector: version for version in known.model_versions}
    missing = tuple(name for name in everything if name not in have or not have[name].covers(wanted[name]))
    if not missing:
        return None
    never = any(name not in have for name in missing)
    if known.failed and never:
        reason: Reason = "failed before"
    elif not known.complete:
        reason = "unfinished"
    elif any(name in have and have[name].model != wanted[name].model for name in missing):
        reason = "new model"
    else:
        reason = "new detector" if all(name not in have for name in missing) else "lower floor"
    # with another segment length the file has other segments, of which nothing is stored
    return missing if known.segment_s in (None, segment_s) else everything, reason


def _may_be_cut(item: MediaItem) -> bool:
    return item.kind in CUT_FROM_BYTES and item.size >= CUT_FROM_BYTES[item.kind]


def _ledger_rows(units: list[Unit], wanted: Mapping[str, ModelVersion]) -> pa.Table:
    everything = sorted(wanted)
    items = [unit.item for unit in units]
    columns = [
        [unit_id(item.uri, item.etag) for item in items],
        [item.uri for item in items],
        [item.size for item in items],
        [item.etag for item in items],
        [item.kind for item in items],
        # stored segments do not count for the whole file, which is another unit
        [everything if unit.known and unit.known.segment_s else unit.missing for unit in units],
        [unit.reason for unit in units],
        *([[None] * len(units)] * 6),  # only cutting knows the rest
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, LEDGER, strict=True)], LEDGER)


def _uncut_rows(units: list[Unit], wanted: Mapping[str, ModelVersion], stored: Stored, segment_s: float) -> pa.Table:
    answered: list[list[dict[str, Any]]] = []
    for unit in units:
        same_cut = unit.known is not None and unit.known.segment_s == segment_s
        parts = stored.segments(unit.item.uri) if same_cut else {}
        answered.append([{"segment": n, "detectors": _covered(part, wanted)} for n, part in parts.items()])
    columns = [[sorted(wanted)] * len(units), answered]
    rows = _ledger_rows(units, wanted)
    for column_type, column in zip(list(UNCUT)[len(LEDGER) :], columns, strict=True):
        rows = rows.append_column(column_type, pa.array(column, column_type.type))
    return rows


def _covered(known: Known, wanted: Mapping[str, ModelVersion]) -> list[str]:
    return sorted(name for name, version in wanted.items() if any(has.covers(version) for has in known.model_versions))


def _outermost(uris: Sequence[str]) -> Iterator[str]:
    """The URIs that lie in no other one of them, so that no file is listed twice."""
    last = None
    for folder in sorted(f"{buckets.normalize(uri)}/" for uri in uris):
        if last is None or not folder.startswith(last):
            yield folder.removesuffix("/")
            last = folder
