"""Compare a job's ledger with its committed rows, rebuild its checkpoint, and remove rows that were stored twice."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.columns import Numbers
from cluster.results.layout import RECORD, run_of
from cluster.results.newest import KEY, Key, key
from cluster.results.rolling_writer import Shards
from cluster.storage import buckets


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Counts of the units in a job's ledger and of their committed rows."""

    units: int  # in the ledger
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one


def reconcile(ledger: str, out: str, job: str, s3_endpoint: str | None = None) -> Reconciliation:
    """Compare a job's ledger with its committed rows, by unit_id. SettingsError if there is no ledger."""
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
    """Write a job's checkpoint again from its rows: exactly the units that have a row are done.

    The checkpoint that Ray wrote may disagree where a writer was killed between writing results and checkpoint, or
    where a file of results was lost. Ray would also delete results that it takes for half committed,
    and their vectors may be in the vector store already.
    """
    units, _, _ = _committed(out, job, s3_endpoint)
    files, path = buckets.filesystem(checkpoint, s3_endpoint)
    if files.get_file_info(path).type is not fs.FileType.NotFound:
        files.delete_dir(path)
    if len(units):
        with Shards(checkpoint, pa.schema([("unit_id", pa.int64())]), s3_endpoint) as shards:
            shards.add(pa.table({"unit_id": units}))


def settle(out: str, job: str, s3_endpoint: str | None = None) -> int:
    """Remove all but the newest row of each unit that a job stored more than once; returns the number of rows removed.

    Writers may outlive a driver that was killed, and commit units that the resumed job has done again. Each file is
    replaced atomically.
    """
    units, counts, _ = _committed(out, job, s3_endpoint)
    double = units[counts > 1]
    if not len(double):
        return 0
    files = results_files.of_job(out, job, s3_endpoint)
    rows: dict[int, list[tuple[Key, int, int]]] = {unit: [] for unit in double.tolist()}  # key, file, row in the file
    for at, file in enumerate(files):
        table = results_files.read(file, list(KEY), s3_endpoint)
        for place in np.flatnonzero(pc.equal(table["job"], job).to_numpy() & np.isin(_ids(table), double)).tolist():
            row_key = key(table.slice(place, 1).to_pylist()[0])
            rows[row_key[2]].append((row_key, -at, -place))  # of equal keys, the row that was there first stays
    superseded: dict[int, list[int]] = {}
    for unit_rows in rows.values():
        for _, at, place in sorted(unit_rows)[:-1]:
            superseded.setdefault(-at, []).append(-place)
    for at, places in superseded.items():
        _rewrite(files[at], places, s3_endpoint)
    return sum(map(len, superseded.values()))


def _rewrite(file: str, without: list[int], s3_endpoint: str | None) -> None:
    import pyarrow.parquet as pq

    columns = RECORD.names if run_of(file) else SCHEMA.names
    rows = results_files.read(file, columns, s3_endpoint)
    kept = np.ones(len(rows), bool)
    kept[without] = False
    files, path = results_files.sink(file, s3_endpoint)
    pq.write_table(rows.filter(pa.array(kept)), path, filesystem=files)


def _ids(table: pa.Table) -> Numbers:
    return table["unit_id"].to_numpy()


def _committed(out: str, job: str, s3_endpoint: str | None) -> tuple[Numbers, Numbers, Numbers]:
    """A job's sorted unit ids (int64), the number of rows of each, and whether any of them has an error (bool)."""
    ids, errors = [np.empty(0, np.int64)], [np.empty(0, bool)]
    for rows in results_files.scan(out, ["unit_id", "errors"], s3_endpoint, job):
        ids.append(_ids(rows))
        errors.append(pc.greater(pc.coalesce(pc.list_value_length(rows["errors"]), 0), 0).to_numpy())
    units = np.concatenate(ids)
    order = np.argsort(units)
    units, first, counts = np.unique(units[order], return_index=True, return_counts=True)
    failed = np.concatenate(errors)[order]
    return units, counts, np.logical_or.reduceat(failed, first) if len(first) else failed
