"""`raysift compact` after its options: which jobs and files it must leave alone, the record, and what it says."""

from collections.abc import Callable

from cluster.access.audit import Audit
from cluster.access.holds import Holds, held
from cluster.records import OVER
from cluster.results import layout
from cluster.results.layout import GRACE_S
from cluster.settings import Settings
from cluster.storage import buckets
from commands.access.options import me
from commands.erasure.options import load_head
from commands.terminal import console, waiting
from deployments.jobs import folder
from deployments.jobs.store import read_jobs
from pipelines.erasure import pending
from pipelines.results.compacting import Compacted, compact


def run(out: str | None) -> None:
    """Compact a folder of results, that of the settings by default. SettingsError if somebody erases meanwhile."""
    settings = load_head()
    state = settings.state_dir.absolute()
    place = buckets.normalize(out or settings.results)
    with pending.alone(state), waiting(f"compacting {place}") as tell:
        pending.refuse_unfinished(state)
        holds = Holds(state).all()
        is_held = (lambda uri, parent: bool(held(holds, [(uri, parent)]))) if holds else None
        done = compact(place, _busy(place, settings), is_held, settings.s3_endpoint, tell)
        if done.replaced:
            Audit(state).record(
                me(), "results compacted", place, files=done.replaced, rows=done.rows, dropped=done.dropped
            )
    _report(done)


def _busy(out: str, settings: Settings) -> Callable[[str], bool]:
    """Whether a job may still write: by this head's list of jobs, else by what a head has noted beside the results.

    A job without a folder is none of the queue's, such as a match of people: its files are written as a whole.
    """
    states = {job.job: job.state for job in read_jobs(settings.state_dir / "jobs.sqlite")}
    names = set(layout.jobs(out, settings.s3_endpoint))

    def busy(job: str) -> bool:
        if job in states:
            return states[job] not in OVER
        if job not in names:
            return False
        page = folder.read(out, job, "queue", settings.s3_endpoint)
        if page is not None:
            return page.get("state") not in OVER
        return folder.read(out, job, "report", settings.s3_endpoint) is None  # a driver writes it at its end

    return busy


def _report(done: Compacted) -> None:
    if done.replaced:
        console.print(
            f"{done.replaced:,} files with {done.rows:,} rows are replaced by {done.written:,} files; {done.dropped:,} "
            f"rows are left out, as newer ones supersede all their answers. From {GRACE_S / 3600:g} hours on, the next "
            "`raysift compact` deletes what was replaced."
        )
    else:
        console.print("nothing was compacted")
    if done.deleted:
        console.print(f"{done.deleted:,} files that earlier runs have replaced are deleted")
    if done.later:
        console.print(f"{done.later:,} files are left for the runs from {GRACE_S / 3600:g} hours on")
    if done.busy:
        console.print(f"{done.busy:,} files are left alone: their jobs are not over")
