"""The steps of a job as Ray Data pipelines: cut long videos; then read the ledger, fetch, decode, detect, store."""

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import psutil
import pyarrow as pa
import ray
from ray import serve
from ray.data import ActorPoolStrategy, DataContext, Dataset, SaveMode
from ray.data.checkpoint import CheckpointConfig
from ray.exceptions import RayTaskError
from ray.util.metrics import Counter

from cluster import cache
from cluster.errors import MediaError
from cluster.records import Failure, MediaItem, ModelVersion, Segment
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA, to_row
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.disks import temporary_folder
from cluster.storage.roots import Roots
from deployments import events
from deployments.detector import DetectorAway
from deployments.serving.client import connect
from deployments.serving.placement import APP
from pipelines.detect import detecting, memo
from pipelines.ledger.cutting import FETCHED, Cut
from pipelines.media.pool import Decoder
from pipelines.media.sources import Remote

BATCH_FILES = 8  # fetched and analysed together: their frames share the detectors' batches
BATCHES_IN_FLIGHT = 2  # per actor: one batch is fetched and decoded while the detectors work on the other
VIDEOS_PER_BLOCK = 16
# a large job commits more units at a time: ten million files must not produce millions of small result files
RESULT_FILES = 4096
MAX_UNITS_PER_BLOCK = 1000


class Analyze:
    """An actor of the job: turns each row of the ledger into one row of results."""

    def __init__(self, model_versions: dict[str, ModelVersion], settings: Settings, job: str, sequence: int) -> None:
        delete_leftovers()
        events.listen(_report_lookups())
        self.settings = settings
        self.roots = Roots(settings.scanning.roots)
        self.job = job
        self.sequence = sequence
        jobs = serve.get_deployment_handle("jobs", APP)
        self.detectors = connect(model_versions, settings, lambda name, away: jobs.waits.remote(job, name, away))
        self.decoder = Decoder()
        self.cache = cache.open_cache(settings)
        self.turns = asyncio.Semaphore(BATCHES_IN_FLIGHT)

    async def __call__(self, units: pa.Table) -> pa.Table:
        """Rows of the ledger to rows of SCHEMA, one for each, in order."""
        rows = units.to_pylist()
        async with self.turns:
            with temporary_folder(f"{FETCHED}{os.getpid()}-") as folder:
                fetched = (asyncio.to_thread(self._fetch, row, folder / str(n)) for n, row in enumerate(rows))
                files = await asyncio.gather(*fetched)
                found = await detecting.analyze(files, self.detectors, self.decoder, self.settings.decoding, self.cache)
        stored = [
            to_row(result, row["unit_id"], self.job, self.sequence) for result, row in zip(found, rows, strict=True)
        ]
        return pa.Table.from_pylist(stored, schema=SCHEMA)

    def _fetch(self, row: dict[str, Any], to: Path) -> detecting.File:
        item = MediaItem(row["uri"], row["size"], row["etag"], row["kind"])
        limits = self.settings
        wanted = frozenset(row["detectors"])
        if row["segment"] is not None:  # its frames and sound are read by ranges; the whole video is not fetched
            source = Remote(item, limits.s3_endpoint, limits.scanning.attempts, self.roots)
            return detecting.File(item, source, row["sha256"], wanted, Segment(**row["segment"]))
        file = detecting.File(item, to, None, wanted)
        try:
            file.sha256 = buckets.fetch(
                item, to, limits.s3_endpoint, limits.scanning.attempts, limits.decoding.max_bytes, self.roots
            )
        except MediaError as error:
            file.source = None
            file.failures.append(Failure(error.step, error.reason))
        return file


def delete_leftovers() -> None:
    """Delete the fetched media that killed workers have left on this machine."""
    for folder in Path(gettempdir()).glob(f"{FETCHED}*-*"):
        pid = folder.name.removeprefix(FETCHED).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def cut(uncut: str, ledger: str, videos: int, settings: Settings) -> int:
    """Cut the long videos among `videos` listed ones and add the units of all to the ledger; returns the number added.

    `uncut`: the folder of the listed videos; `ledger`: that of the ledger.
    """
    DataContext.get_current().checkpoint_config = None
    files, place = buckets.filesystem(ledger, settings.s3_endpoint)
    before = set(results_files.committed(ledger, settings.s3_endpoint))
    _read(uncut, VIDEOS_PER_BLOCK, settings).map_batches(
        Cut,
        fn_constructor_args=(settings,),
        batch_size=BATCH_FILES,
        batch_format="pyarrow",
        compute=_actors(videos, VIDEOS_PER_BLOCK, settings),
        num_cpus=settings.scanning.worker_cpus,
    ).write_parquet(place, filesystem=files, mode=SaveMode.APPEND, ray_remote_args={"num_cpus": 0.1})
    added = [file for file in results_files.committed(ledger, settings.s3_endpoint) if file not in before]
    return sum(len(results_files.read(file, ["unit_id"], settings.s3_endpoint)) for file in added)


def run(
    ledger: str,
    units: int,
    out: str,
    job: str,
    sequence: int,
    model_versions: dict[str, ModelVersion],
    settings: Settings,
) -> None:
    """Analyse the units of the ledger (`units` of them) that this job has not committed yet, into files of `out`.

    `sequence` is the number of this attempt at the job, which every row gets.

    Ray commits a block's rows and its checkpoint in two phases: a run that is killed and started again under the same
    job continues where it stopped; no unit is stored twice. DetectorAway if a detector was unavailable for too long.
    """
    files, place = results_files.sink(out, settings.s3_endpoint)
    block = max(settings.scanning.units_per_block, min(MAX_UNITS_PER_BLOCK, units // RESULT_FILES))
    DataContext.get_current().checkpoint_config = CheckpointConfig(
        id_column="unit_id",
        checkpoint_path=f"{place}/_raysift/jobs/{job}/checkpoint",
        override_filesystem=files,
        delete_checkpoint_on_success=False,
    )
    with _detector_away():
        _read(ledger, block, settings).map_batches(
            Analyze,
            fn_constructor_args=(model_versions, settings, job, sequence),
            batch_size=min(BATCH_FILES, block),  # a larger batch would join blocks
            batch_format="pyarrow",
            compute=_actors(units, block, settings),
            num_cpus=settings.scanning.worker_cpus,
        ).write_parquet(place, filesystem=files, mode=SaveMode.APPEND, ray_remote_args={"num_cpus": 0.1})


def _read(folder: str, rows_per_block: int, settings: Settings) -> Dataset:
    DataContext.get_current().enable_progress_bars = False
    files, place = buckets.filesystem(folder, settings.s3_endpoint)
    # the reader packs a whole ledger into one block: nothing would be parallel, and a kill would lose everything
    return ray.data.read_parquet(place, filesystem=files).repartition(target_num_rows_per_block=rows_per_block)


def _actors(rows: int, rows_per_block: int, settings: Settings) -> ActorPoolStrategy:
    return ActorPoolStrategy(size=min(settings.scanning.workers, -(-rows // rows_per_block)))


@contextmanager
def _detector_away() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        # Ray Data passes on an actor's exception only as text
        if away := re.search(rf"{DetectorAway.__name__}: ([\w, ]+)", str(error)):
            raise DetectorAway(away[1]) from error
        raise


def _report_lookups() -> Callable[[str, int], None]:
    """A listener for events.listen that reports look-ups in the memo to Ray's metrics as `raysift_cache`."""
    metric = Counter("raysift_cache", "look-ups of answers in the cache", tag_keys=("detector", "outcome"))

    def report(event: str, by: int) -> None:
        if lookup := memo.lookup_of(event):
            detector, hit = lookup
            metric.inc(by, {"detector": detector, "outcome": "hit" if hit else "miss"})

    return report
