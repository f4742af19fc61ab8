"""The merge of all rows of each file into one record.

Files, contents and records are numbers in NumPy arrays: ten million files must fit into the memory of a job's driver.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import ModelVersion
from cluster.results.columns import Columns, Numbers
from cluster.results.newest import KEY, Ranks
from cluster.storage.members import outer_etag

COLUMNS = [*KEY, "uri", "etag", "segment", "segments", "segment_s", "model_versions", "errors"]
COLUMNS += ["parent", "members"]
WHOLE = -1  # in place of a segment's number
_FIELD, _ENTRY = "\x1f", "\x1e"  # separators that do not occur in names of detectors and models


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a file's current content and cut, which are those of its newest row."""

    model_versions: frozenset[ModelVersion] = frozenset()  # that have analysed all of it
    failed: bool = False  # the newest row has an error
    segment_s: float | None = None  # length of its segments in seconds; None: analysed as a whole
    segments: int | None = None  # how many segments it has
    complete: bool = True  # every segment is stored and was analysed by the same models
    changed: bool = False  # what is stored is of another content; the other fields are not set then


@dataclass(frozen=True, slots=True)
class Merged:
    """Files sorted by hash of the URI, and segments of files sorted by hash of the URI and number.

    uris, contents and codes have one element a file; cut_uris, cut_numbers and cut_codes one a segment.
    """

    uris: Numbers  # uint64: 64 bits of BLAKE2b of each URI
    contents: Numbers  # uint64: the same of URI and ETag
    codes: Numbers  # int32: index into `known`
    cut_uris: Numbers
    cut_numbers: Numbers
    cut_codes: Numbers
    known: list[Known]  # the different records; few, however many files there are


def merge(tables: Iterable[pa.Table]) -> Merged:
    """Merge the rows (with COLUMNS) of each file's current content and segment length; the newest answers count."""
    records, ranks = _Records(), Ranks()
    growing = Columns(np.uint64, np.uint64, np.int32, np.int32, np.uint64, np.int32)
    for rows in tables:
        if len(rows):
            ranks.add(rows)
            growing.add(*_columns(rows, records))
    columns = [*growing.take(), ranks.ranks()]
    if not len(columns[0]):
        keys, numbers = np.empty(0, np.uint64), np.empty(0, np.int32)
        return Merged(keys, keys, numbers, keys, numbers, numbers, [])
    _keep_current(columns, records)
    return _merged(columns, records)


def hashes(names: list[str]) -> npt.NDArray[np.uint64]:
    """64 bits of BLAKE2b of each name, as uint64.

    Two files are confused only if the hashes of URI and of content both collide: 128 bits.
    """
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, np.uint64)


class _Records:
    """The different records that rows hold, numbered: there are few, however many rows there are."""

    def __init__(self) -> None:
        self.known: list[Known] = []
        self._numbers: dict[Known, int] = {}
        self._texts: dict[str, int] = {}
        self._merged: dict[tuple[int, ...], int] = {}

    def number(self, known: Known) -> int:
        if known not in self._numbers:
            self._numbers[known] = len(self.known)
            self.known.append(known)
        return self._numbers[known]

    def parsed(self, text: str) -> int:
        """The number of the record in a text that `_columns` wrote."""
        if text not in self._texts:
            model_versions, failed, segment_s, segments = text.rsplit(_FIELD, 3)
            parts = [entry.split(_FIELD) for entry in model_versions.split(_ENTRY) if entry]
            versions = frozenset(
                ModelVersion(name, model, float(floor) if floor else None) for name, model, floor in parts
            )
            known = Known(
                versions, failed == "true", float(segment_s) if segment_s else None, int(segments) if segments else None
            )
            self._texts[text] = self.number(known)
        return self._texts[text]

    def later(self, older: int, newer: int) -> int:
        """Number of the record of two rows of the same unit: of each detector, the newest answer counts."""
        if (older, newer) not in self._merged:
            versions = {
                version.detector: version for code in (older, newer) for version in self.known[code].model_versions
            }
            self._merged[older, newer] = self.number(
                replace(self.known[newer], model_versions=frozenset(versions.values()))
            )
        return self._merged[older, newer]

    def whole_file(self, segments: tuple[int, ...], count: int) -> int:
        """Number of the record of a file with `count` segments of these records.

        It names the models that have analysed every segment, each with the highest floor of its segments.
        """
        parts = [self.known[code] for code in segments]
        all_stored = count == parts[0].segments
        versions, alike = _common(parts)
        failed = any(part.failed for part in parts)
        return self.number(
            Known(
                versions if all_stored else frozenset(),
                failed,
                parts[0].segment_s,
                parts[0].segments,
                all_stored and alike,
            )
        )

    def container(self, own: int, members: tuple[int, ...], all_stored: bool) -> int:
        """Number of the record of a container, by its own record and those of its members, as `whole_file`."""
        parts = [self.known[own], *(self.known[code] for code in members)]
        versions, _ = _common(parts)
        failed = any(part.failed for part in parts)
        return self.number(Known(versions if all_stored else frozenset(), failed, complete=all_stored))


def _common(parts: list[Known]) -> tuple[frozenset[ModelVersion], bool]:
    """The models that have analysed every part, each with the highest floor, and whether they are the same for all."""
    sets = [{(version.detector, version.model) for version in part.model_versions} for part in parts]
    floors: dict[tuple[str, str], list[float]] = {}
    for part in parts:
        for version in part.model_versions:
            of_model = floors.setdefault((version.detector, version.model), [])
            of_model.extend([] if version.floor is None else [version.floor])
    common = set.intersection(*sets)
    versions = frozenset(ModelVersion(*pair, max(floors[pair], default=None)) for pair in common)
    return versions, all(each == sets[0] for each in sets)


def _columns(rows: pa.Table, records: _Records) -> tuple[Numbers, ...]:
    """For each row: hash of the URI, hash of the content, number of the segment (or WHOLE), number of the record, hash
    of the content of the file that it is a member of (or 0), number of its own members."""
    uris, etags = rows["uri"].to_pylist(), rows["etag"].to_pylist()
    contents = [f"{uri}\0{etag or ''}" for uri, etag in zip(uris, etags, strict=True)]
    string = pa.string()
    versions = pc.list_flatten(rows["model_versions"]).combine_chunks()
    parts = [versions.field(name).cast(string) for name in ("detector", "model", "floor")]
    entries = pc.binary_join_element_wise(*parts, _FIELD, null_handling="replace", null_replacement="")
    lengths = pc.coalesce(pc.list_value_length(rows["model_versions"]), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lists = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), entries), _ENTRY)
    failed = pc.greater(pc.coalesce(pc.list_value_length(rows["errors"]), 0), 0).combine_chunks().cast(string)
    cut = [rows[name].combine_chunks().cast(string) for name in ("segment_s", "segments")]
    texts = pc.binary_join_element_wise(lists, failed, *cut, _FIELD, null_handling="replace", null_replacement="")
    encoded = texts.dictionary_encode()
    codes = np.array([records.parsed(text) for text in encoded.dictionary.to_pylist()], np.int32)
    return (
        hashes(uris),
        hashes(contents),
        pc.coalesce(rows["segment"], pa.scalar(WHOLE, pa.int32())).to_numpy(),
        codes[encoded.indices.to_numpy()],
        _outer_contents(rows),
        pc.coalesce(rows["members"], pa.scalar(0, pa.int32())).to_numpy(),
    )


def _outer_contents(rows: pa.Table) -> Numbers:
    """For each row of a member, the hash of the content of the file that contains it; 0 for other rows."""
    outer = np.zeros(len(rows), np.uint64)
    inner = np.flatnonzero(pc.is_valid(rows["parent"]).to_numpy())
    of_members = rows.select(["uri", "parent", "etag"]).take(pa.array(inner)).to_pylist()
    outer[inner] = hashes(
        [f"{row['parent']}\0{outer_etag(row['uri'], row['parent'], row['etag'])}" for row in of_members]
    )
    return outer


def _keep_current(rows: list[Numbers], records: _Records) -> None:
    """Keep only the rows of each file's current content and segment length, sorted by file, segment and rank."""
    uris, contents, _, codes, *_, ranks = rows
    order = np.lexsort((ranks, uris))
    first = _starts(uris[order])
    newest = order[np.append(first[1:], len(order)) - 1]
    sizes = np.diff(np.append(first, len(order)))
    cuts = np.array([known.segment_s or 0.0 for known in records.known])
    same = contents[order] == np.repeat(contents[newest], sizes)
    same &= cuts[codes[order]] == np.repeat(cuts[codes[newest]], sizes)
    del uris, contents, codes, ranks
    _take(rows, order[same])
    _take(rows, np.lexsort((rows[-1], rows[2], rows[0])))


def _take(columns: list[Numbers], which: Numbers) -> None:
    for at, column in enumerate(columns):
        columns[at] = column[which]


def _merged(rows: list[Numbers], records: _Records) -> Merged:
    uris, contents, numbers, codes, outer, members, _ = rows
    first = _starts(uris, numbers)
    sizes = np.diff(np.append(first, len(uris)))
    units = codes[first]
    outer_last, members_last = (column[first + sizes - 1] for column in (outer, members))  # of the newest row
    for again in range(1, int(sizes.max())):  # units with more than one row
        which = np.flatnonzero(sizes > again)
        pairs = np.stack([units[which], codes[first[which] + again]])
        different, place = np.unique(pairs, axis=1, return_inverse=True)
        units[which] = np.array([records.later(*pair) for pair in different.T.tolist()], np.int32)[place.ravel()]
    uris, contents, numbers = uris[first], contents[first], numbers[first]

    cut = numbers != WHOLE
    segments = (uris[cut], numbers[cut], units[cut])
    first = _starts(uris)
    files = units[first]
    ends = np.append(first[1:], len(uris))
    for file in np.flatnonzero(cut[first]):
        of_file = units[first[file] : ends[file]]
        files[file] = records.whole_file(tuple(np.unique(of_file).tolist()), len(of_file))
    newest = (outer_last[first], members_last[first])
    files = _with_members(contents[first], files, *newest, records)
    return Merged(uris[first], contents[first], files, *segments, records.known)


def _with_members(contents: Numbers, codes: Numbers, outer: Numbers, members: Numbers, records: _Records) -> Numbers:
    """The codes of files; that of a container names only what has analysed it and all of its members."""
    inner = np.flatnonzero(outer)
    inner = inner[np.argsort(outer[inner])]
    keys, inside = outer[inner], codes[inner]
    whole = codes.copy()
    for file in np.flatnonzero(members):
        begin, end = (np.searchsorted(keys, contents[file], side) for side in ("left", "right"))
        its_members = tuple(np.unique(inside[begin:end]).tolist())
        whole[file] = records.container(int(codes[file]), its_members, bool(end - begin >= members[file]))
    return whole


def _starts(*columns: Numbers) -> npt.NDArray[np.intp]:
    """Indices of a sorted column, or of several sorted together, at which the value differs from the one before."""
    changed = np.zeros(len(columns[0]) - 1, bool)
    for column in columns:
        changed |= column[1:] != column[:-1]
    return np.flatnonzero(np.append(True, changed))
