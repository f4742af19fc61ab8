"""`raysift erase` after its plan: what it shows, the stop of Raysift, the erasure, its proof."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Column, Table

from cluster.access.audit import Audit
from cluster.access.holds import Holds, refuse_held
from cluster.access.private_files import replace_private
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.records import OVER, asset_id
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.vectors import VectorsDown
from commands.access.options import me
from commands.erasure.options import load_head
from commands.erasure.planning import Plan, choose
from commands.purge import report_caches
from commands.terminal import api_client, console, say, waiting
from deployments.catalog.database import folders_of
from deployments.jobs.store import read_jobs
from pipelines.erasure import erasing, pending, proof
from pipelines.erasure.collecting import collect
from pipelines.erasure.pending import Erasure

HEALTH_S = 5.0


def run(plan: Plan, yes: bool) -> None:
    """Show the plan and, with `yes`, carry it out. Exits 1 if something is left."""
    if plan.is_empty:
        console.print("nothing of it is stored: nothing is erased")
        return
    Console().print(_planned(plan))
    for note in plan.notes:
        console.print(note, markup=False, highlight=False)
    console.print("Not touched: the original media. A scan that finds them again analyses them again.")
    if not yes:
        console.print("Nothing was changed. --yes erases it; Raysift is stopped for that.")
        return
    settings, erasure = plan.settings, plan.erasure
    state = settings.state_dir.absolute()
    with pending.alone(state):
        pending.refuse_unfinished(state)
        pending.keep(erasure, state)
        Audit(state).record(me(), "erasure begun", erasure.id, **_recorded(erasure))
        _erase(erasure, settings, state)


def resume() -> None:
    """Finish the erasure that was interrupted. SettingsError if there is none."""
    settings = load_head()
    state = settings.state_dir.absolute()
    with pending.alone(state):
        erasure = pending.read(state)
        if erasure is None:
            raise SettingsError("no erasure was interrupted: there is nothing to resume.")
        Audit(state).record(me(), "erasure resumed", erasure.id)
        _erase(erasure, settings, state)


def check_idle() -> None:
    """SettingsError if a job is not over."""
    _check_idle(load_head().state_dir.absolute())


def _erase(erasure: Erasure, settings: Settings, state: Path) -> None:
    """Erase, prove, and record it. SettingsError if it may not be erased, or if something is left."""
    with _given_up_if_refused(erasure, state):
        _check_idle(state)
    _stop(erasure, settings)
    with waiting("erasing") as tell, ExitStack() as until_the_end:
        with _given_up_if_refused(erasure, state):
            _check_idle(state)  # again: a job may have been submitted before Raysift was stopped
            _check_folders(erasure, state)
            if erasure.vectors is None:
                choose(erasure, settings)  # again: jobs may have stored more
                tell("reading what is erased")
                collect(erasure, settings.s3_endpoint)
            until_the_end.enter_context(Holds(state).unchanged())
            refuse_held(Holds(state).all(), erasure.touched.items())
        pending.keep(erasure, state)  # from now on it is not given up: what is changed is not selected again
        _carry_out(erasure, settings, state, tell)


@contextmanager
def _given_up_if_refused(erasure: Erasure, state: Path) -> Iterator[None]:
    """After a SettingsError, forget an erasure that has changed nothing yet: `raysift up` would wait for it."""
    untouched = erasure.vectors is None
    try:
        yield
    except SettingsError:
        if untouched:
            pending.finish(state)
            console.print("Nothing was erased but cached answers. If Raysift was stopped, start it: raysift up")
        raise


def _carry_out(erasure: Erasure, settings: Settings, state: Path, tell: erasing.Tell) -> None:
    try:
        done = erasing.erase(erasure, settings, tell)
    except VectorsDown as error:
        raise SettingsError(f"{error}. Everything else is erased: raysift erase --resume") from None
    tell("searching every store for what was erased")
    proved = proof.prove(erasure, settings)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps(proof.as_json(erasure, proved, done, ended), indent=1).encode()
    file = state / pending.FOLDER / f"{erasure.id}.json"
    replace_private(file, content)
    digest = hashlib.sha256(content).hexdigest()
    Audit(state).record(me(), "erased", erasure.id, **_recorded(erasure), traces=proved.traces, proof_sha256=digest)
    _show(done, erasure, proved, file)
    if proved.traces:
        raise SettingsError(
            f"{proved.traces} traces are left: see the table. `raysift erase --resume` repeats it. If nothing more can "
            f"be done, delete {pending.path(state)}, which names what was erased; the proof stays."
        )
    pending.finish(state)


def _check_folders(erasure: Erasure, state: Path) -> None:
    """Look for folders of results that only the catalogue knows, or a job that was submitted after the plan was made.

    SettingsError for an erasure that has changed nothing yet; another one goes through them, too.
    """
    known = set[str]().union(*(folders_of(catalogue) for catalogue in state.glob("catalog*.duckdb")))
    known |= {buckets.normalize(job.out) for job in read_jobs(state / "jobs.sqlite")}
    more = sorted(known - set(erasure.outs))
    if more and erasure.vectors is not None:
        erasure.outs += more
    elif more:
        raise SettingsError(
            f"there are also results in {', '.join(more)}, which were not known when this erasure was "
            "planned: run the same command again."
        )


def _recorded(erasure: Erasure) -> dict[str, Any]:
    """What the audit log, which stays, holds of an erasure: no address and no name."""
    assets = [asset_id(uri) for uri in erasure.files]
    return {"selected_by": erasure.selected_by, "files": len(assets), "assets": assets, "jobs": erasure.jobs}


def _check_idle(state: Path) -> None:
    busy = [job.job for job in read_jobs(state / "jobs.sqlite") if job.state not in OVER]
    if busy:
        raise SettingsError(
            f"{', '.join(busy[:5])} are not over, and may store again what is erased. Wait for them, or cancel them: "
            f"raysift jobs cancel {busy[0]}"
        )


def _stop(erasure: Erasure, settings: Settings) -> None:
    """Erase the caches of all nodes through the API while it answers, then stop what `raysift up` has started."""
    if _api_answers(settings):
        with api_client(settings) as api, waiting("erasing the caches of all nodes"):
            answer = api.delete("/v1/cache")
            answer.raise_for_status()
            caches = ErasedCaches(**answer.json())
        report_caches(caches, settings)
        erasure.caches, erasure.nodes_reached = caches, True
        pending.keep(erasure, settings.state_dir.absolute())
    processes = Processes(settings)
    if running := processes.alive():
        with waiting("stopping Raysift"):
            processes.stop()
        console.print(f"stopped: {', '.join(running)}. Start it again afterwards: raysift up")
    if _api_answers(settings):
        raise SettingsError(
            f"Serve still runs at {settings.api.url}, in a Ray cluster that `raysift up` has not started. Stop it with "
            "`serve shutdown --yes` on this machine, then: raysift erase --resume"
        )


def _api_answers(settings: Settings) -> bool:
    try:
        answer = httpx.get(f"{settings.api.url}/v1/health", timeout=HEALTH_S, trust_env=False)
        return answer.status_code == 200 and answer.json().get("status") == "ok"
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


def _planned(plan: Plan) -> Table:
    erasure, selected = plan.erasure, plan.selected
    table = Table(Column("store", overflow="fold"), Column("would be erased", overflow="fold"))
    if erasure.person:
        shown = f"{len(erasure.person.vectors)} different vectors and all hits of the person"
        table.add_row("results", f"{shown}, and thumbnails, of {len(erasure.person.files):,} files")
        table.add_row("galleries", f"{plan.photos} photos and rejected faces")
    else:
        everywhere = f"{selected.rows:,} rows with {selected.vectors:,} vectors, in {selected.parquet:,} Parquet files"
        table.add_row("results", f"{everywhere}: {len(selected.files):,} files everywhere")
        if selected.others:
            table.add_row("", f"of {len(selected.others):,} more files, only what these jobs have stored")
        jobs = len(erasure.erased_jobs)
        table.add_row("folders of jobs", f"{jobs} folders, and the addresses of the files in the others")
        table.add_row(
            "galleries", "rejected faces of these files, and pictures of enrolled people that were cut out of them"
        )
    table.add_row("decisions", "those on these files, with their history; notes and tags that name what is erased")
    table.add_row("decisions on faces", f"those in these files, with their history; {plan.said} with the person's name")
    table.add_row("list of jobs, logs", "records and lines that name it")
    table.add_row("vector store", "its folder; a new one is filled from the results that stay")
    table.add_row("catalogue", "its file; the next start loads the results that stay")
    table.add_row("caches of all nodes", "all answers, of any file: they are computed again when they are needed")
    table.add_row("folders of results", "\n".join(erasure.outs))
    return table


def _show(done: erasing.Counts, erasure: Erasure, proved: proof.Proof, file: Path) -> None:
    removed = Table("erased", "count")
    for what, count in done.items():
        removed.add_row(what, f"{count:,}")
    for place, count in erasure.caches.entries.items() if erasure.caches else ():
        removed.add_row(f"cached answers, of any file, on {place}", f"{count:,}")
    searched = Table(Column("searched", overflow="fold"), "files", "bytes", "traces")
    for store, found in proved.stores.items():
        traces = ", ".join(f"{count} {kind}" for kind, count in found.traces.items() if count) or "0"
        searched.add_row(store, f"{found.files:,}", f"{found.bytes:,}", traces)
    Console().print(removed, searched)
    mentions = sum(found.mentions for found in proved.stores.values())
    if mentions:
        console.print(f"the name stays in {mentions} texts or addresses, which are not erased: see above")
    console.print("not searched: " + "; ".join(proved.not_searched), markup=False, highlight=False)
    say(f"proof: {file}")
