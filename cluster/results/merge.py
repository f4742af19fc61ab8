"""The rows of each file merged into what is known of it, in numbers: ten million files must fit where a job starts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import ModelVersion
from cluster.results.newest import KEY, Ranks

Numbers = npt.NDArray[Any]

COLUMNS = [*KEY, "uri", "etag", "segment", "segments", "segment_s", "model_versions", "errors"]
WHOLE = -1  # in place of a segment's number
_FIELD, _ENTRY = "\x1f", "\x1e"  # between the parts of a text that no name of a detector or model holds


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a file's current content and cut, which are those of its newest row."""

    model_versions: frozenset[ModelVersion] = frozenset()  # that have answered for all of it
    failed: bool = False  # the newest row tells of an error
    segment_s: float | None = None  # what it was cut by; None: it is whole
    segments: int | None = None  # into how many
    complete: bool = True  # every segment is there, and the same have answered for each
    changed: bool = False  # what is stored is of another content, of which no more is told


@dataclass(frozen=True, slots=True)
class Merged:
    """The files, sorted by URI, and the segments of those that were cut, sorted by URI and number."""

    uris: Numbers  # 64 bits of BLAKE2b each
    contents: Numbers  # likewise, of URI and ETag
    codes: Numbers  # what is stored of each: a place in `known`
    cut_uris: Numbers
    cut_numbers: Numbers
    cut_codes: Numbers
    known: list[Known]  # there are few different ones


def merge(tables: Iterable[pa.Table]) -> Merged:
    """Of rows with COLUMNS, those of each file's current content and cut, merged: the newest answers count."""
    said, ranks, chunks = _Said(), Ranks(), []
    for rows in tables:
        if len(rows):
            ranks.add(rows)
            chunks.append(_columns(rows, said))
    if not chunks:
        keys, numbers = np.empty(0, np.uint64), np.empty(0, np.int32)
        return Merged(keys, keys, numbers, keys, numbers, numbers, [])
    waiting = [list(parts) for parts in zip(*chunks, strict=True)]
    chunks.clear()
    # one column at a time: what ten million rows take is never there twice
    columns = [np.concatenate(waiting.pop(0)) for _ in range(len(waiting))]
    columns.append(ranks.ranks())
    _keep_current(columns, said)
    return _merged(columns, said)


def hashes(names: list[str]) -> npt.NDArray[np.uint64]:
    """64 bits of BLAKE2b of each. A file is taken for another only if it meets it in URI and content: 128 bits."""
    digests = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, np.uint64)


class _Said:
    """The different answers that rows give, numbered: there are few, however many rows there are."""

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
        """The number of what `_columns` wrote."""
        if text not in self._texts:
            model_versions, failed, segment_s, segments = text.rsplit(_FIELD, 3)
            parts = [one.split(_FIELD) for one in model_versions.split(_ENTRY) if one]
            whose = frozenset(
                ModelVersion(name, model, float(floor) if floor else None) for name, model, floor in parts
            )
            known = Known(
                whose, failed == "true", float(segment_s) if segment_s else None, int(segments) if segments else None
            )
            self._texts[text] = self.number(known)
        return self._texts[text]

    def later(self, older: int, newer: int) -> int:
        """Both rows are of the same unit: of each detector, the newest answer counts."""
        if (older, newer) not in self._merged:
            whose = {one.detector: one for code in (older, newer) for one in self.known[code].model_versions}
            self._merged[older, newer] = self.number(
                replace(self.known[newer], model_versions=frozenset(whose.values()))
            )
        return self._merged[older, newer]

    def together(self, segments: tuple[int, ...], count: int) -> int:
        """The file that so many segments make up: who has answered for all of them, with the highest floor."""
        parts = [self.known[code] for code in segments]
        sets = [{(one.detector, one.model) for one in part.model_versions} for part in parts]
        there = count == parts[0].segments
        common = set.intersection(*sets) if there else set()
        floors: dict[tuple[str, str], list[float]] = {}
        for part in parts:
            for one in part.model_versions:
                floors.setdefault((one.detector, one.model), []).extend([] if one.floor is None else [one.floor])
        whose = frozenset(ModelVersion(*pair, max(floors[pair], default=None)) for pair in common)
        failed, alike = any(part.failed for part in parts), all(each == sets[0] for each in sets)
        return self.number(Known(whose, failed, parts[0].segment_s, parts[0].segments, there and alike))


def _columns(rows: pa.Table, said: _Said) -> tuple[Numbers, ...]:
    """Keys of file and content, the segment and what the row says, as numbers."""
    uris, etags = rows["uri"].to_pylist(), rows["etag"].to_pylist()
    contents = [f"{uri}\0{etag or ''}" for uri, etag in zip(uris, etags, strict=True)]
    text = pa.string()
    whose = pc.list_flatten(rows["model_versions"]).combine_chunks()
    parts = [whose.field(name).cast(text) for name in ("detector", "model", "floor")]
    one = pc.binary_join_element_wise(*parts, _FIELD, null_handling="replace", null_replacement="")
    lengths = pc.coalesce(pc.list_value_length(rows["model_versions"]), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lists = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), one), _ENTRY)
    failed = pc.greater(pc.coalesce(pc.list_value_length(rows["errors"]), 0), 0).combine_chunks().cast(text)
    cut = [rows[name].combine_chunks().cast(text) for name in ("segment_s", "segments")]
    told = pc.binary_join_element_wise(lists, failed, *cut, _FIELD, null_handling="replace", null_replacement="")
    numbered = told.dictionary_encode()
    codes = np.array([said.parsed(one) for one in numbered.dictionary.to_pylist()], np.int32)
    return (
        hashes(uris),
        hashes(contents),
        pc.coalesce(rows["segment"], pa.scalar(WHOLE, pa.int32())).to_numpy(),
        codes[numbered.indices.to_numpy()],
    )


def _keep_current(rows: list[Numbers], said: _Said) -> None:
    """Leave only the rows of each file's current content and cut, sorted by file, segment and rank."""
    uris, contents, _, codes, ranks = rows
    order = np.lexsort((ranks, uris))
    first = _starts(uris[order])
    newest = order[np.append(first[1:], len(order)) - 1]
    sizes = np.diff(np.append(first, len(order)))
    cuts = np.array([known.segment_s or 0.0 for known in said.known])
    same = contents[order] == np.repeat(contents[newest], sizes)
    same &= cuts[codes[order]] == np.repeat(cuts[codes[newest]], sizes)
    del uris, contents, codes, ranks
    _take(rows, order[same])
    _take(rows, np.lexsort((rows[4], rows[2], rows[0])))


def _take(columns: list[Numbers], which: Numbers) -> None:
    for at, column in enumerate(columns):
        columns[at] = column[which]


def _merged(rows: list[Numbers], said: _Said) -> Merged:
    uris, contents, numbers, codes, _ = rows
    first = _starts(uris, numbers)
    sizes = np.diff(np.append(first, len(uris)))
    units = codes[first]
    for again in range(1, int(sizes.max())):  # those that have been asked about more than once
        which = np.flatnonzero(sizes > again)
        pairs = np.stack([units[which], codes[first[which] + again]])
        different, place = np.unique(pairs, axis=1, return_inverse=True)
        units[which] = np.array([said.later(*pair) for pair in different.T.tolist()], np.int32)[place.ravel()]
    uris, contents, numbers = uris[first], contents[first], numbers[first]

    cut = numbers != WHOLE
    segments = (uris[cut], numbers[cut], units[cut])
    first = _starts(uris)
    files = units[first]
    ends = np.append(first[1:], len(uris))
    for file in np.flatnonzero(cut[first]):
        of_file = units[first[file] : ends[file]]
        files[file] = said.together(tuple(np.unique(of_file).tolist()), len(of_file))
    return Merged(uris[first], contents[first], files, *segments, said.known)


def _starts(*columns: Numbers) -> npt.NDArray[np.intp]:
    """Where a sorted column, or several that are sorted together, has another value than before."""
    other = np.zeros(len(columns[0]) - 1, bool)
    for column in columns:
        other |= column[1:] != column[:-1]
    return np.flatnonzero(np.append(True, other))
