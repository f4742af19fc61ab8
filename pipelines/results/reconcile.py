"""What is stored already, and whether a job's results are all there: nothing lost, nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.records import SCHEMA
from cluster.results import files as results_files
from cluster.results.merge import COLUMNS, Known, Merged, Numbers, hashes, merge
from cluster.results.rolling_writer import Shards
from cluster.storage import buckets

CHANGED = Known(changed=True)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a job owed against what lies in its results."""

    units: int  # in the ledger
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one


class Stored:
    """What is stored of each file: 20 bytes a file, and 16 a segment of those that were cut."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __len__(self) -> int:
        return len(self._merged.uris)

    def known(self, files: Sequence[tuple[str, str]]) -> list[Known | None]:
        """What is stored of each (URI, ETag): None if nothing, CHANGED if of another content."""
        if not len(self):
            return [None] * len(files)
        has = self._merged
        uris = hashes([uri for uri, _ in files])
        contents = hashes([f"{uri}\0{etag}" for uri, etag in files])
        at = np.minimum(np.searchsorted(has.uris, uris), len(self) - 1)
        there, same = (has.uris[at] == uris).tolist(), (has.contents[at] == contents).tolist()
        codes = has.codes[at].tolist()
        return [
            (has.known[code] if equal else CHANGED) if found else None
            for code, found, equal in zip(codes, there, same, strict=True)
        ]

    def segments(self, uri: str) -> dict[int, Known]:
        """What is stored of each segment of a file's current cut, by number."""
        has, key = self._merged, hashes([uri])[0]
        rows = slice(np.searchsorted(has.cut_uris, key), np.searchsorted(has.cut_uris, key, "right"))
        numbers, codes = has.cut_numbers[rows].tolist(), has.cut_codes[rows].tolist()
        return {number: has.known[code] for number, code in zip(numbers, codes, strict=True)}


def stored(out: str, s3_endpoint: str | None = None) -> Stored:
    """What the committed rows of a folder say; a folder that does not exist says nothing."""
    return Stored(merge(results_files.scan(out, COLUMNS, s3_endpoint)))


def reconcile(ledger: str, out: str, job: str, s3_endpoint: str | None = None) -> Reconciliation:
    """Hold a job's ledger against its committed rows, by unit_id. SettingsError if there is no ledger."""
    shards = results_files.committed(ledger, s3_endpoint)
    if not shards:
        raise SettingsError(
            f"there is no ledger at {ledger}: no such job has stored here. Check the job and the folder."
        )
    owed = np.unique(np.concatenate([_ids(results_files.read(shard, ["unit_id"], s3_endpoint)) for shard in shards]))
    units, counts, failed = _committed(out, job, s3_endpoint)
    ours = np.isin(units, owed, assume_unique=True)
    done = int(np.count_nonzero(ours))
    return Reconciliation(
        units=len(owed),
        done=done,
        failed=int(np.count_nonzero(failed[ours])),
        lost=len(owed) - done,
        double=int(np.count_nonzero(counts[ours] > 1)),
    )


def renew(checkpoint: str, out: str, job: str, s3_endpoint: str | None = None) -> None:
    """Make a job's checkpoint anew from its rows: what has one is done, and nothing else is.

    Ray's own may say otherwise where a writer was killed between the two halves of its commit, or a file of results
    was lost; and what it takes for half committed it would delete, though it may be indexed already.
    """
    units, _, _ = _committed(out, job, s3_endpoint)
    files, path = buckets.filesystem(checkpoint, s3_endpoint)
    if files.get_file_info(path).type is not fs.FileType.NotFound:
        files.delete_dir(path)
    if len(units):
        with Shards(checkpoint, pa.schema([("unit_id", pa.int64())]), s3_endpoint) as shards:
            shards.add(pa.table({"unit_id": units}))


def settle(out: str, job: str, s3_endpoint: str | None = None) -> int:
    """Take what a job stored twice out of its younger files; how many rows went.

    A driver that was killed leaves writers behind, and one of them may commit what the resumed job has done again.
    A file is replaced whole or not at all.
    """
    units, counts, _ = _committed(out, job, s3_endpoint)
    double = units[counts > 1]
    if not len(double):
        return 0
    seen: set[int] = set()
    gone = 0
    for file in results_files.committed(out, s3_endpoint):
        table = results_files.read(file, ["unit_id", "job"], s3_endpoint)
        ids = _ids(table)
        kept = np.ones(len(ids), bool)
        for row in np.flatnonzero(pc.equal(table["job"], job).to_numpy() & np.isin(ids, double)):
            kept[row] = ids[row] not in seen
            seen.add(int(ids[row]))
        if not kept.all():
            _rewrite(file, kept, s3_endpoint)
            gone += int(np.count_nonzero(~kept))
    return gone


def _rewrite(file: str, kept: Numbers, s3_endpoint: str | None) -> None:
    import pyarrow.parquet as pq

    files, path = results_files.sink(file, s3_endpoint)
    pq.write_table(results_files.read(file, SCHEMA.names, s3_endpoint).filter(kept), path, filesystem=files)


def _ids(table: pa.Table) -> Numbers:
    return table["unit_id"].to_numpy()


def _committed(out: str, job: str, s3_endpoint: str | None) -> tuple[Numbers, Numbers, Numbers]:
    """A job's units in order, how many rows each has, and whether one of them tells of an error."""
    ids, errors = [np.empty(0, np.int64)], [np.empty(0, bool)]
    for rows in results_files.scan(out, ["unit_id", "errors"], s3_endpoint, job):
        ids.append(_ids(rows))
        errors.append(pc.greater(pc.coalesce(pc.list_value_length(rows["errors"]), 0), 0).to_numpy())
    units = np.concatenate(ids)
    order = np.argsort(units)
    units, first, counts = np.unique(units[order], return_index=True, return_counts=True)
    failed = np.concatenate(errors)[order]
    return units, counts, np.logical_or.reduceat(failed, first) if len(first) else failed
