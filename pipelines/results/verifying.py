"""Check that every unit of a job has exactly one row of results, and that its vectors are in the vector store."""

from dataclasses import dataclass

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.vectors import Vectors
from deployments.jobs import folder
from deployments.jobs import job as jobs
from pipelines.results.auditing import audit
from pipelines.results.reconcile import reconcile


@dataclass(frozen=True, slots=True)
class Verified:
    """Counts of a job's units, of their rows and of vectors that are missing."""

    units: int
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one
    vectors_missing: int  # vectors in its rows that the vector store does not have


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
    if not task.units:
        return Verified(0, 0, 0, 0, 0, 0)
    held = reconcile(f"{folder.place(out, job)}/ledger", out, job, settings.s3_endpoint)
    checked = audit(out, Vectors(settings.chroma.url), settings.s3_endpoint, job)
    return Verified(held.units, held.done, held.failed, held.lost, held.double, checked.missing)
