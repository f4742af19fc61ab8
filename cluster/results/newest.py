"""Which stored rows count: the newest answer of each detector for each segment of every file's newest content."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.records import SCHEMA
from cluster.results import files as results_files

_DECIDING = ["job", "uri", "etag", "segment", "segment_s", "analyzed_at", "analyzers"]
_ANALYZERS = SCHEMA.field("analyzers")
_MOST_DETECTORS = 63  # one bit each

Masks = npt.NDArray[np.int64]


def newest_rows(
    out: str,
    columns: list[str],
    s3_endpoint: str | None = None,
    detector: str | None = None,
    job: str | None = None,
    wanted: Callable[[str], bool] = lambda uri: True,
) -> Iterator[pa.Table]:
    """Of these columns, uri and analyzers among them, the rows that hold answers which count; `analyzers` names these.

    Only answers of the detector and rows of the job, if given, and of files whose URI is wanted. One table for every
    Parquet file that has such rows. 45 bytes are held for each stored row. SettingsError names a file that holds no
    results.
    """
    files = results_files.committed(out, s3_endpoint)
    names: list[str] = [] if detector is None else [detector]
    tables = (results_files.read(file, _DECIDING, s3_endpoint) for file in files)
    chosen = _chosen(tables, names, detector is None, job)
    for file, masks in zip(files, chosen, strict=True):
        rows = np.flatnonzero(masks)
        if not len(rows):
            continue
        table = results_files.read(file, columns, s3_endpoint).take(pa.array(rows))
        count = [
            [one for one in said or () if one["detector"] in names and mask >> names.index(one["detector"]) & 1]
            for said, mask in zip(table["analyzers"].to_pylist(), masks[rows].tolist(), strict=True)
        ]
        at = table.schema.get_field_index("analyzers")
        table = table.set_column(at, _ANALYZERS, pa.array(count, _ANALYZERS.type))
        table = table.filter(pa.array([wanted(uri) for uri in table["uri"].to_pylist()], pa.bool_()))
        if len(table):
            yield table


def _chosen(tables: Iterable[pa.Table], names: list[str], all_names: bool, job: str | None) -> list[Masks]:
    """For each row of each table a bit for every name whose answer there counts; new names are added to `names`."""
    keys, contents, segments = [np.empty(0, "S16")], [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    whens, answered, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [0]
    asked = [np.empty(0, bool)]
    for table in tables:
        uris, said = table["uri"].to_pylist(), table["analyzers"].to_pylist()
        of = [{one["detector"] for one in row or ()} for row in said]
        if all_names:
            names += sorted(set().union(*of) - set(names))
        assert len(names) <= _MOST_DETECTORS
        bits = {name: 1 << n for n, name in enumerate(names)}
        keys.append(np.array([blake2b(uri.encode(), digest_size=16).digest() for uri in uris], "S16"))
        cuts = zip(table["etag"].to_pylist(), table["segment_s"].to_pylist(), strict=True)
        contents.append(np.array([results_files.content(*cut) for cut in cuts], np.int64))
        segments.append(table["segment"].fill_null(-1).to_numpy())
        whens.append(table["analyzed_at"].cast(pa.int64()).to_numpy())
        answered.append(np.array([sum(bits.get(name, 0) for name in row) for row in of], np.int64))
        asked.append(np.array([job in (None, of_row) for of_row in table["job"].to_pylist()], bool))
        starts.append(starts[-1] + len(uris))
    key, content, segment, when, mask = map(np.concatenate, (keys, contents, segments, whens, answered))
    counts = np.where(np.concatenate(asked), _counting(key, content, segment, when, mask), 0)
    return np.split(counts, starts[1:-1]) if len(starts) > 1 else []


def _counting(
    key: npt.NDArray[np.bytes_],
    content: npt.NDArray[np.int64],
    segment: npt.NDArray[np.int32],
    when: npt.NDArray[np.int64],
    answered: Masks,
) -> Masks:
    """Of the bits of `answered` those whose answer counts."""
    by_time = np.lexsort((when, key))  # it keeps the order of rows that are equal
    last = _last(key[by_time])
    group = np.concatenate([[0], np.cumsum(last)])[: len(by_time)]
    current = by_time[content[by_time] == content[by_time][last][group]]
    order = current[np.lexsort((when[current], segment[current], key[current]))]
    counts = np.zeros(len(key), np.int64)
    bits = int(np.bitwise_or.reduce(answered, initial=0))
    for bit in (1 << n for n in range(bits.bit_length())):
        said = order[answered[order] & bit != 0]
        counts[said[_last(key[said], segment[said])]] |= bit
    return counts


def _last(*columns: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Of sorted rows, those after which another value begins in one of the columns."""
    changes = [column[1:] != column[:-1] for column in columns]
    return np.append(np.logical_or.reduce(changes), True)[: len(columns[0])]
