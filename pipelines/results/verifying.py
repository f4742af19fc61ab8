"""Check that every unit of a job has exactly one row of results, and that its vectors are in the vector store."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.results.merge import hashes
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.vectors import Vectors
from deployments.jobs import folder
from deployments.jobs import job as jobs
from pipelines.results.auditing import audit
from pipelines.results.reconcile import reconcile


@dataclass(frozen=True, slots=True)
class Verified:
    """Counts of a job's files and units, of their rows and of vectors that are missing."""

    units: int
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one
    vectors_missing: int  # vectors in its rows that the vector store does not have
    listed: int = 0  # files found; 0 in a retry, and in jobs of versions that did not count them
    unchanged: int = 0  # of these, analysed before
    left_out: int = 0  # of these, named in the list of what was left out
    unaccounted: int = 0  # of these, neither in the ledger nor unchanged nor left out: a bug, or a lost ledger


def verify(out: str, job: str, settings: Settings) -> Verified:
    """Compare a job's ledger with its rows, and the vectors in these rows with the vector store.

    SettingsError if the folder has no such job or it has not listed its files yet; VectorsDown if the
    vector store does not answer.
    """
    task = jobs.read(out, job, settings.s3_endpoint)
    if task is None or task.units is None:
        raise SettingsError(
            f"{job} has not listed its files in {out} yet: there is nothing to verify. See `raysift jobs show {job}`."
        )
    place, endpoint = folder.place(out, job), settings.s3_endpoint
    left_out = _rows(f"{place}/left_out", endpoint)
    owed = _files([f"{place}/ledger", f"{place}/uncut"], endpoint)
    unaccounted = task.files_listed - owed - task.skipped - left_out if task.files_listed else 0
    listed = task.files_listed, task.skipped, left_out, unaccounted
    if not task.units:
        return Verified(0, 0, 0, 0, 0, 0, *listed)
    held = reconcile(f"{place}/ledger", out, job, endpoint)
    checked = audit(out, Vectors.configured(settings), endpoint, job)
    return Verified(held.units, held.done, held.failed, held.lost, held.double, checked.missing, *listed)


def _files(folders: list[str], s3_endpoint: str | None) -> int:
    """The number of different files in ledgers, without the members of containers."""
    shards = [shard for folder in folders for shard in results_files.committed(folder, s3_endpoint)]
    tables = (results_files.read(shard, ["uri", "parent"], s3_endpoint) for shard in shards)
    read = (table.filter(pc.is_null(table["parent"]))["uri"].to_pylist() for table in tables)
    seen = [np.unique(hashes(uris)) for uris in read if uris]
    return len(np.unique(np.concatenate(seen))) if seen else 0


def _rows(folder: str, s3_endpoint: str | None) -> int:
    """The number of rows in the Parquet files of a folder, by their footers."""
    files, _ = buckets.filesystem(folder, s3_endpoint)
    shards = results_files.committed(folder, s3_endpoint)
    return sum(
        pq.read_metadata(buckets.filesystem(shard, s3_endpoint)[1], filesystem=files).num_rows for shard in shards
    )
