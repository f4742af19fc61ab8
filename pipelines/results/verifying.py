"""Whether all that a job owed is there, once: in its results and in the vector store."""

from dataclasses import dataclass

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.vectors import Vectors
from deployments.jobs import folder
from pipelines.results.auditing import audit
from pipelines.results.reconcile import reconcile


@dataclass(frozen=True, slots=True)
class Verified:
    """What a job owed against what is there."""

    units: int
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one
    vectors_missing: int  # that its rows hold and search cannot find


def verify(out: str, job: str, settings: Settings) -> Verified:
    """Hold a job's ledger against its rows, and these against the vector store.

    SettingsError if the folder knows no such job or it has not listed its files yet; VectorsDown.
    """
    task = folder.read(out, job, "job", settings.s3_endpoint)
    if task is None or not task["listed"]:
        raise SettingsError(
            f"{job} has not listed its files in {out} yet: there is nothing to verify. See `raysift jobs show {job}`."
        )
    if not task["units"]:
        return Verified(0, 0, 0, 0, 0, 0)
    held = reconcile(f"{folder.place(out, job)}/ledger", out, job, settings.s3_endpoint)
    checked = audit(out, Vectors(settings.chroma.url), settings.s3_endpoint, job)
    return Verified(held.units, held.done, held.failed, held.lost, held.double, checked.missing)
