"""Which stored rows count: the newest answer of each detector for each segment of every file's newest content.

Rows are always compared by KEY, in Python (`key`), in columns (`Ranks`) or in SQL (the catalogue): by the number of the
attempt that wrote the row, which the head gives, then by job and unit. The clocks of workers are not used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.records import asset_id
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.columns import Columns

KEY = ("sequence", "job", "unit_id")  # of two rows, the one whose values are greater is the newer one
Key = tuple[int, str, int]
OLDEST: Key = (-(2**63), "", -1)  # older than every row

Answer = tuple[str, int | None, str]  # an asset's id, the number of its segment (None: the whole file), a detector

# the columns that decide which answers count
DECIDING = [*KEY, "uri", "etag", "segment", "segment_s", "model_versions"]
_MODEL_VERSIONS = SCHEMA.field("model_versions")
_MOST_DETECTORS = 62  # one bit each
_ROW = 1 << _MOST_DETECTORS  # a further bit, which the newest row of each file or segment keeps

Masks = npt.NDArray[np.int64]


def key(row: Mapping[str, Any]) -> Key:
    """The key by which a row is compared."""
    return row["sequence"], row["job"], row["unit_id"]


class Ranks:
    """Numbers for the rows of several tables: a newer row has a higher number."""

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self._columns = Columns(np.int64, np.int32, np.int64)

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a table with the columns KEY."""
        jobs = rows["job"].combine_chunks().dictionary_encode()
        codes = np.array([self._jobs.setdefault(job, len(self._jobs)) for job in jobs.dictionary.to_pylist()], np.int32)
        self._columns.add(rows["sequence"].to_numpy(), codes[jobs.indices.to_numpy()], rows["unit_id"].to_numpy())

    def ranks(self) -> npt.NDArray[np.int64]:
        """The rank of every row, int64 (n,), in the order in which the rows were added; then the rows are released."""
        sequences, jobs, units = self._columns.take()
        by_name = np.argsort(np.argsort(np.array(list(self._jobs), np.str_)))
        order = np.lexsort((units, by_name[jobs], sequences))
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks


def newest_contents(rows: pa.Table) -> dict[str, tuple[Key, int]]:
    """Asset id -> key and content of the file's newest row. `rows` has the columns KEY, uri, etag, segment_s."""
    newest: dict[str, tuple[Key, int]] = {}
    for row in rows.select([*KEY, "uri", "etag", "segment_s"]).to_pylist():
        asset = asset_id(row["uri"])
        content = results_files.content(row["etag"], row["segment_s"])
        newest[asset] = max(newest.get(asset, (OLDEST, 0)), (key(row), content))
    return newest


def newest_answers(rows: pa.Table, contents: Mapping[str, tuple[Key, int]]) -> dict[Answer, tuple[Key, int]]:
    """Answer about these contents of the files -> its key, and the index of the row that has it."""
    newest: dict[Answer, tuple[Key, int]] = {}
    for at, row in enumerate(rows.select(DECIDING).to_pylist()):
        asset = asset_id(row["uri"])
        if contents[asset][1] != results_files.content(row["etag"], row["segment_s"]):
            continue
        for model_version in row["model_versions"] or ():
            answer = (asset, row["segment"], model_version["detector"])
            newest[answer] = max(newest.get(answer, (OLDEST, 0)), (key(row), at))
    return newest


def newest_rows(
    out: str,
    columns: list[str],
    s3_endpoint: str | None = None,
    detector: str | None = None,
    job: str | None = None,
    wanted: Callable[[str], bool] = lambda uri: True,
) -> Iterator[pa.Table]:
    """Yield the rows with answers that count, in these columns; `model_versions` names only such answers.

    The columns must include uri and model_versions. `detector` and `job` select answers of that detector and rows of
    that job, `wanted` files by their URI. One table for every Parquet file that has such rows. Needs about 60 bytes of
    memory for each stored row. SettingsError names a file that holds no results.
    """
    files = results_files.committed(out, s3_endpoint)
    names: list[str] = [] if detector is None else [detector]
    tables = results_files.ahead(files, lambda file: results_files.read(file, DECIDING, s3_endpoint))
    chosen = _chosen(tables, names, detector is None, job)
    for file, masks in zip(files, chosen, strict=True):
        rows = np.flatnonzero(masks)
        if not len(rows):
            continue
        table = results_files.read(file, columns, s3_endpoint).take(pa.array(rows))
        counting = [
            [version for version in versions or () if _counts(version["detector"], mask, names)]
            for versions, mask in zip(table["model_versions"].to_pylist(), masks[rows].tolist(), strict=True)
        ]
        at = table.schema.get_field_index("model_versions")
        table = table.set_column(at, _MODEL_VERSIONS, pa.array(counting, _MODEL_VERSIONS.type))
        table = table.filter(pa.array([wanted(uri) for uri in table["uri"].to_pylist()], pa.bool_()))
        if len(table):
            yield table


def staying(tables: Iterable[pa.Table]) -> list[npt.NDArray[np.bool_]]:
    """For each row of each table (with DECIDING), whether a compaction keeps it.

    It keeps the rows with an answer that counts, and the newest row of each file or segment, which says whether it has
    failed. Needs about 60 bytes of memory for each row.
    """
    return [masks != 0 for masks in _chosen(tables, [], True, None, _ROW)]


def _counts(detector: str, mask: int, names: list[str]) -> bool:
    return detector in names and bool(mask >> names.index(detector) & 1)


def _chosen(
    tables: Iterable[pa.Table], names: list[str], all_names: bool, job: str | None, of_rows: int = 0
) -> list[Masks]:
    """For each row of each table a mask with a bit for every name whose answer counts; adds new names to `names`.

    `of_rows`: a bit that every row begins with, and of each file or segment the newest keeps.
    """
    keys, contents, segments = [np.empty(0, "S16")], [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    answered, starts, of_job, ranks = [np.empty(0, np.int64)], [0], [np.empty(0, bool)], Ranks()
    for table in tables:
        uris, versions = table["uri"].to_pylist(), table["model_versions"].to_pylist()
        detectors = [{version["detector"] for version in row or ()} for row in versions]
        if all_names:
            names += sorted(set().union(*detectors) - set(names))
        assert len(names) <= _MOST_DETECTORS
        bits = {name: 1 << n for n, name in enumerate(names)}
        keys.append(np.array([blake2b(uri.encode(), digest_size=16).digest() for uri in uris], "S16"))
        cuts = zip(table["etag"].to_pylist(), table["segment_s"].to_pylist(), strict=True)
        contents.append(np.array([results_files.content(*cut) for cut in cuts], np.int64))
        segments.append(table["segment"].fill_null(-1).to_numpy())
        answered.append(np.array([of_rows + sum(bits.get(name, 0) for name in row) for row in detectors], np.int64))
        of_job.append(np.array([job in (None, row_job) for row_job in table["job"].to_pylist()], bool))
        ranks.add(table)
        starts.append(starts[-1] + len(uris))
    key, content, segment, mask = map(np.concatenate, (keys, contents, segments, answered))
    counts = np.where(np.concatenate(of_job), _counting(key, content, segment, ranks.ranks(), mask), 0)
    return np.split(counts, starts[1:-1]) if len(starts) > 1 else []


def _counting(
    key: npt.NDArray[np.bytes_],
    content: npt.NDArray[np.int64],
    segment: npt.NDArray[np.int32],
    rank: npt.NDArray[np.int64],
    answered: Masks,
) -> Masks:
    """The masks `answered`, (n,), with only the bits of answers that count."""
    by_rank = np.lexsort((rank, key))
    last = _last(key[by_rank])
    group = np.concatenate([[0], np.cumsum(last)])[: len(by_rank)]
    current = by_rank[content[by_rank] == content[by_rank][last][group]]
    order = current[np.lexsort((rank[current], segment[current], key[current]))]
    counts = np.zeros(len(key), np.int64)
    bits = int(np.bitwise_or.reduce(answered, initial=0))
    for bit in (1 << n for n in range(bits.bit_length()) if bits >> n & 1):
        having = order[answered[order] & bit != 0]
        counts[having[_last(key[having], segment[having])]] |= bit
    return counts


def _last(*columns: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Of sorted rows, (n,), those that are the last before a change of value in one of the columns."""
    changes = [column[1:] != column[:-1] for column in columns]
    return np.append(np.logical_or.reduce(changes), True)[: len(columns[0])]
