"""The steps of an erasure, on the cluster's head while the cluster is stopped. Each may be repeated after a crash."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from cluster import cache, erasures
from cluster.access.credential import store_file
from cluster.api_types import ErasedCaches
from cluster.decisions import store as decisions
from cluster.errors import SettingsError
from cluster.people import store as people
from cluster.processes import Processes, port_open
from cluster.records import asset_id
from cluster.results import measured
from cluster.settings import Settings
from cluster.vectors import Vectors, VectorsDown
from deployments.catalog.database import begin_again
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Rejections, unenrol
from deployments.jobs.webhooks import outbox
from pipelines.erasure import pending, rewriting
from pipelines.erasure.needles import pieces
from pipelines.erasure.pending import Erasure
from pipelines.results.indexing import Indexing

Counts = dict[str, int]  # what was removed -> how often
Tell = Callable[[str], None]


def erase(erasure: Erasure, settings: Settings, tell: Tell) -> Counts:
    """Erase it from every store of this machine, and from the results. The proof is not made here.

    What the proof searches for was collected before: later these rows are gone.
    `tell` is called with what is being done. SettingsError says what could not be erased; calling it again goes on.
    """
    state, endpoint = settings.state_dir.absolute(), settings.s3_endpoint
    tell("rewriting the results")
    counts = rewriting.erase_results(erasure, endpoint)
    tell("rewriting the folders of jobs")
    counts["files in folders of jobs"] = rewriting.erase_job_folders(erasure, endpoint)
    counts["records of jobs"] = rewriting.erase_job_list(state / "jobs.sqlite", erasure)
    counts["messages and hits of webhooks"] = rewriting.erase_outbox(state / outbox.FILE, erasure)
    counts["decisions"] = rewriting.erase_decisions(state / decisions.FILE, erasure)
    counts["decisions on faces"] = rewriting.erase_face_decisions(state / people.FILE, erasure)
    if erasure.person:
        counts["measures of evaluations"] = measured.forget(state, erasure.person.name)
    counts["cases"] = rewriting.erase_cases(store_file(settings), erasure)
    counts["lines of logs"] = rewriting.erase_log_lines(state, erasure)
    for catalogue in state.glob("catalog*.duckdb"):
        begin_again(catalogue, erasure.outs)
    tell("erasing cached answers")
    erased = _erase_caches(settings)  # also if the API has done it: a node may have answered in between
    if erasure.caches is None:
        erasure.caches = erased
        pending.keep(erasure, state)
    counts |= _erase_faces(erasure, settings)
    tell("building the vector store")
    counts["vectors that stay, in a new vector store"] = rebuild_vectors(settings, erasure.outs, tell)
    return {what: count for what, count in counts.items() if count}


def _erase_caches(settings: Settings) -> ErasedCaches:
    """Erase the cache of this machine and Redis. Other nodes erase theirs by the mark, before they use them again."""
    erasures.demand(settings)
    entries = {socket.gethostname(): cache.erase_file(settings)}
    if settings.cache.redis_url:
        entries["Redis"] = cache.open_cache(settings).clear()
    return ErasedCaches(entries=entries, failed={}, away=[])


def _erase_faces(erasure: Erasure, settings: Settings) -> Counts:
    """Delete the rejected faces that are vectors of erased files, and a person's photos and rejected faces."""
    gallery = f"{settings.galleries}/face"
    known = {bytes.fromhex(piece) for piece in erasure.vectors or []}
    rejections, photos = Rejections(gallery, settings.s3_endpoint), Gallery(gallery, settings.s3_endpoint)
    rewriting.delete_unfinished(settings.galleries, settings.s3_endpoint)
    counts = {"rejected faces": rejections.discard(lambda vector: bool(pieces(vector) & known))}
    counts["pictures of enrolled people"] = photos.discard(map(asset_id, erasure.files))
    if erasure.person:
        counts["photos of the person"], rejected = unenrol(erasure.person.name, photos, rejections)
        counts["rejected faces"] += rejected
    return counts


def rebuild_vectors(settings: Settings, outs: list[str], tell: Tell) -> int:
    """Delete Chroma's folder and fill a new one from the results. Returns how many vectors it has.

    Nothing less removes the bytes: Chroma 1.5 keeps deleted vectors in the file of the index, and the files of deleted
    collections, also after `chroma vacuum` (chroma-core/chroma#7662). A server whose folder is not here is emptied and
    filled again; what its files hold then is not known. 0 if there is no vector store. VectorsDown if it stops
    answering.
    """
    folder = settings.state_dir.absolute() / "chroma"
    vectors = Vectors.configured(settings)
    if not folder.exists():
        if not port_open(settings.chroma):
            return 0
        vectors.drop()
        return _fill(vectors, outs, settings, tell)
    if port_open(settings.chroma):
        raise SettingsError(f"Chroma still runs at {settings.chroma.url}. Stop it, then `raysift erase --resume`.")
    _delete(folder)
    processes = Processes(settings)
    processes.prepare_folder()
    try:
        processes.start_chroma()
        processes.wait("chroma", lambda: port_open(settings.chroma))
        return _fill(vectors, outs, settings, tell)
    finally:
        processes.stop()


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be deleted ({error}). Delete it, then `raysift erase --resume`."
        ) from None


def _fill(vectors: Vectors, outs: list[str], settings: Settings, tell: Tell) -> int:
    for n, out in enumerate(outs, 1):
        tell(f"building the vector store: {n} of {len(outs)} folders of results")
        if missing := Indexing(out, vectors, lambda folder: 0, settings.s3_endpoint).once():
            raise VectorsDown(f"{missing} files of {out} are not in the vector store, which has stopped answering")
    return sum(vectors.count(space) for space in ("image", "text", "faces"))
