"""A scan as a job: it lists, analyses, and says at the end whether everything it owed is there."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.job_submission import JobSubmissionClient

from cluster import buckets
from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.vectors import Vectors
from deployments.jobs import FINISHED_WITH_FAILED_FILES
from deployments.serving import APP, running
from pipelines import analyze
from pipelines.indexing import Indexing
from pipelines.listing import write_ledger
from pipelines.storing import reconcile, stored

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scan ended."""

    job: str
    units: int
    done: int
    failed: int
    skipped: int
    exit_code: int  # 0 all well, 3 finished with failed files


def scan(uris: list[str], out: str, wanted: list[str] | None, settings: Settings) -> Outcome:
    """Bring the results in `out` up to date with the media under the URIs. Raysift must be up in this Ray cluster.

    SettingsError says which URI, name or setting is wrong, or that units are missing at the end.
    """
    ray.init(address="auto", log_to_driver=False, ignore_reinit_error=True)
    catalog = serve.get_deployment_handle("catalog", APP)
    job = _name()

    def note(**facts: Any) -> None:
        catalog.note.remote(job, facts).result()

    try:
        return _scan(uris, buckets.normalize(out), wanted, settings, job, note, catalog.load_all)
    except SettingsError as error:
        note(message=str(error))
        raise


def _scan(
    uris: list[str],
    out: str,
    wanted: list[str] | None,
    settings: Settings,
    job: str,
    note: Callable[..., None],
    load: Any,
) -> Outcome:
    note(uris=uris, out=out)
    served = running(settings)
    models = _chosen(served, wanted)
    ledger = f"{out}/_raysift/jobs/{job}/ledger"
    endpoint = settings.s3_endpoint
    listed = write_ledger(uris, ledger, stored(out, endpoint), models, endpoint)
    log.info("%s owes %d units; %d files are unchanged and skipped", job, listed.units, listed.skipped)
    if not listed.units and not listed.skipped:
        raise SettingsError(
            f"there is no image, video or audio under {', '.join(uris)}. Name another folder or bucket."
        )
    note(units=listed.units, skipped=listed.skipped)

    indexing = Indexing(
        out, Vectors(settings.chroma.url), lambda folder: load.remote(folder, endpoint).result(), endpoint
    )
    over = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(indexing.follow, over)
        try:
            if listed.units:
                analyze.run(ledger, listed.units, out, job, served, settings)
        finally:
            over.set()
    if waiting := following.result():
        note(message=f"{waiting} files of results are not searchable yet: the next scan tries again")

    if not listed.units:
        return Outcome(job, 0, 0, 0, listed.skipped, 0)
    held = reconcile(ledger, out, job, endpoint)
    if held.lost or held.double:
        raise SettingsError(f"{held.lost} of {held.units} files have no result and {held.double} have two. Scan again.")
    if held.failed / held.units > settings.scanning.max_failed_share:
        raise SettingsError(
            f"{held.failed} of {held.units} files failed, more than scanning.max_failed_share allows. See the app, or "
            "the errors in `raysift export`."
        )
    code = FINISHED_WITH_FAILED_FILES if held.failed else 0
    return Outcome(job, held.units, held.done, held.failed, listed.skipped, code)


def _chosen(models: Any, wanted: list[str] | None) -> dict[str, str]:
    for name in wanted or []:
        if name not in models:
            raise SettingsError(f"no detector {name!r}; there are {', '.join(models)}. Correct --detectors.")
    return {name: model for name, model in models.items() if wanted is None or name in wanted}


def _name() -> str:
    """What Ray's Jobs API calls this job; a driver that was started without it gets a name of its own."""
    own = ray.get_runtime_context().get_job_id()
    for details in JobSubmissionClient().list_jobs():
        if details.job_id == own and details.submission_id:
            return str(details.submission_id)
    return f"scan-{time.strftime('%Y%m%d-%H%M%S')}"
