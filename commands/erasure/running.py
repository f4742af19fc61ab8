"""`raysift erase` after its plan: what it shows, the stop of Raysift, the erasure, its proof."""

import fcntl
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Column, Table

from cluster.access.audit import Audit
from cluster.access.holds import Holds, refuse_held
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.records import OVER, asset_id
from cluster.settings import Settings
from cluster.vectors import VectorsDown
from commands.access.options import me
from commands.erasure.holds import load_head
from commands.erasure.planning import Plan
from commands.purge import report_caches
from commands.terminal import api_client, console, say, waiting
from deployments.catalog.database import folders_of
from deployments.jobs.store import read_jobs
from pipelines.erasure import erasing, pending, proof
from pipelines.erasure.pending import Erasure
from pipelines.erasure.selection import Wanted, select

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
    state = plan.settings.state_dir.absolute()
    _check_idle(state)
    pending.keep(plan.erasure, state)
    Audit(state).record(me(), "erasure begun", plan.erasure.id, **_recorded(plan.erasure))
    _carry_out(plan.erasure, plan.settings)


def resume() -> None:
    """Finish the erasure that was interrupted. SettingsError if there is none."""
    settings = load_head()
    state = settings.state_dir.absolute()
    erasure = pending.read(state)
    if erasure is None:
        raise SettingsError("no erasure was interrupted: there is nothing to resume.")
    _check_idle(state)
    Audit(state).record(me(), "erasure resumed", erasure.id)
    _carry_out(erasure, settings)


def _carry_out(erasure: Erasure, settings: Settings) -> None:
    """Erase, prove, and record it. SettingsError if another process does, or if something is left."""
    state = settings.state_dir.absolute()
    with (state / pending.FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError("another `raysift erase` is at work. Wait for its end.") from None
        _erase(erasure, settings, state)


def _erase(erasure: Erasure, settings: Settings, state: Path) -> None:
    _check_holds(erasure, settings, state)
    _stop(erasure, settings)
    _check_folders(erasure, state)
    with waiting("erasing") as tell:
        try:
            done = erasing.erase(erasure, settings, tell)
        except VectorsDown as error:
            raise SettingsError(f"{error}. Everything else is erased: raysift erase --resume") from None
        tell("searching every store for what was erased")
        proved = proof.prove(erasure, settings)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps(proof.as_json(erasure, proved, done, ended), indent=1).encode()
    file = state / pending.FOLDER / f"{erasure.id}.json"
    pending.write_private(file, content)
    digest = hashlib.sha256(content).hexdigest()
    Audit(state).record(me(), "erased", erasure.id, **_recorded(erasure), hits=proved.hits, proof_sha256=digest)
    _show(done, erasure, proved, file)
    if proved.hits:
        raise SettingsError(
            f"{proved.hits} traces are left: see the table. `raysift erase --resume` repeats it. If nothing more can "
            f"be done, delete {pending.path(state)}, which names what was erased; the proof stays."
        )
    pending.finish(state)


def _check_holds(erasure: Erasure, settings: Settings, state: Path) -> None:
    """Look at the holds again: one may have been set since the plan was made. What was not begun yet is dropped."""
    files = erasure.files | (erasure.person.files if erasure.person else {})
    try:
        holds = Holds(state).all()
        if holds and erasure.jobs:
            files = files | select(Wanted(jobs=frozenset(erasure.jobs)), erasure.outs, settings.s3_endpoint).others
        refuse_held(holds, files.items())
    except SettingsError:
        if erasure.vectors is None:
            pending.finish(state)
        raise


def _check_folders(erasure: Erasure, state: Path) -> None:
    """Look for folders of results that only the catalogue knows.

    An erasure that has changed nothing yet is dropped then, with SettingsError; another one goes through them, too.
    """
    loaded = set[str]().union(*(folders_of(catalogue) for catalogue in state.glob("catalog*.duckdb")))
    more = sorted(loaded - set(erasure.outs))
    if more and erasure.vectors is not None:
        erasure.outs += more
        pending.keep(erasure, state)
    elif more:
        pending.finish(state)
        raise SettingsError(
            f"the catalogue was also filled from {', '.join(more)}, which could not be seen while Raysift ran. Nothing "
            "was erased but cached answers. It is stopped now: run the same command again."
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
        table.add_row("galleries", "rejected faces of these files")
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
    searched = Table(Column("searched", overflow="fold"), "files", "bytes", "hits")
    for store, found in proved.stores.items():
        hits = ", ".join(f"{count} {kind}" for kind, count in found.hits.items() if count) or "0"
        searched.add_row(store, f"{found.files:,}", f"{found.bytes:,}", hits)
    Console().print(removed, searched)
    mentions = sum(found.mentions for found in proved.stores.values())
    if mentions:
        console.print(f"the name stays in {mentions} texts or addresses, which are not erased: see above")
    console.print("not searched: " + "; ".join(proved.not_searched), markup=False, highlight=False)
    say(f"proof: {file}")
