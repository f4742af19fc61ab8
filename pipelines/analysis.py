"""The deployment that fetches, decodes and analyses the units of all jobs. It stays up between jobs, with its decoders.

Its callers are the tasks of jobs' Ray Data pipelines (pipelines/analyze.py), which import no decoder and no detector.
"""

import asyncio
import os
import shutil
import time
from collections import Counter, OrderedDict
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import psutil
import pyarrow as pa
from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster import cache, heap
from cluster.errors import MediaError
from cluster.logs import setup
from cluster.metrics.declared import CACHE_LOOKUPS, STAGE_SECONDS
from cluster.metrics.recording import record, timing
from cluster.records import Failure, MediaItem, Segment, asset_id
from cluster.results.codec import SCHEMA, to_row
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.disks import temporary_folder
from cluster.storage.roots import Roots
from cluster.traces import exporting, spans
from deployments import events, ray_metrics
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import KEEP_BUFFERS
from deployments.serving.placement import configs
from pipelines.attempt import Attempt
from pipelines.detect import detecting, memo
from pipelines.ledger.cutting import Cut
from pipelines.ledger.unpacked import FETCHED, Unpacked
from pipelines.media.pool import Decoder
from pipelines.media.sources import Remote
from pipelines.results.counting import count_results

BATCH_FILES = 8  # fetched and analysed together: their frames share the detectors' batches
BATCHES_IN_FLIGHT = 2  # per replica: one batch is fetched and decoded while the detectors work on the other
JOBS_KEPT = 16  # whose clients of the detectors a replica keeps
TRACED_BATCHES = 100  # of a job, by one replica; then ever fewer, since no trace can have a span of ten million files


class Analysis:
    """Turns rows of a ledger into rows of results."""

    def __init__(
        self, detectors: dict[str, DeploymentHandle[Any]], jobs: DeploymentHandle[Any], settings: Settings
    ) -> None:
        delete_leftovers()
        if settings.s3_endpoint:  # as detector replicas are given it: galleries may be in the bucket
            os.environ["AWS_ENDPOINT_URL"] = settings.s3_endpoint
        ray_metrics.report()
        setup.join_serve()
        exporting.start(settings.traces, "analysis")
        events.listen(_report_lookup)
        self.handles, self.jobs = detectors, jobs
        self.decoder = Decoder()
        self.unpacked = Unpacked(self.decoder)
        self.cache = cache.open_cache(settings)
        self.turns = asyncio.Semaphore(BATCHES_IN_FLIGHT)
        self.calls, self.used, self.has_worked = 0, time.monotonic(), True  # has_worked: since it gave back memory
        self.clients: OrderedDict[tuple[str, int], ServedDetectors] = OrderedDict()
        self.traced: Counter[str] = Counter()  # driver's span -> batches

    async def analyze(self, units: pa.Table, attempt: Attempt) -> pa.Table:
        """Rows of LEDGER to rows of SCHEMA, one for each, in order. DetectorAway if a detector stays away."""
        batches = [units.slice(begin, BATCH_FILES) for begin in range(0, len(units), BATCH_FILES)]
        self.calls += 1
        try:
            return pa.concat_tables(await asyncio.gather(*(self._analyze(batch, attempt) for batch in batches)))
        finally:
            self.calls, self.used, self.has_worked = self.calls - 1, time.monotonic(), True

    async def cut(self, units: pa.Table, settings: Settings) -> pa.Table:
        """Rows of UNCUT to rows of LEDGER, as `cutting.Cut`."""
        return await asyncio.to_thread(Cut(settings, self.decoder, self.unpacked), units)

    async def check_health(self) -> None:
        """Called by Serve every few seconds: between jobs, what they have freed is given back to the system."""
        if self.has_worked and not self.calls and time.monotonic() - self.used >= heap.IDLE_S:
            self.has_worked = False
            await asyncio.to_thread(heap.give_back)

    async def _analyze(self, units: pa.Table, attempt: Attempt) -> pa.Table:
        rows, settings = units.to_pylist(), attempt.settings
        async with self.turns:
            with (
                spans.span("batch", self._parent(attempt), units=len(rows)),
                temporary_folder(f"{FETCHED}{os.getpid()}-") as folder,
            ):
                fetched = (
                    asyncio.to_thread(_traced_file, row, folder / str(n), settings, self.unpacked)
                    for n, row in enumerate(rows)
                )
                files = await timing(STAGE_SECONDS, asyncio.gather(*fetched), stage="fetch")
                found = await detecting.analyze(
                    files, self._client(attempt), self.decoder, settings.decoding, self.cache
                )
        count_results(found)
        stored = [
            to_row(result, row["unit_id"], attempt.job, attempt.sequence)
            for result, row in zip(found, rows, strict=True)
        ]
        return pa.Table.from_pylist(stored, schema=SCHEMA)

    def _parent(self, attempt: Attempt) -> str | None:
        """The span that the next batch of an attempt is a part of."""
        if attempt.trace is None:
            return None
        self.traced[attempt.trace] += 1
        return attempt.trace if is_traced(self.traced[attempt.trace]) else spans.unsampled(attempt.trace)

    def _client(self, attempt: Attempt) -> ServedDetectors:
        """The client of one attempt at a job, which waits for absent detectors and reports them to the queue."""
        key = attempt.job, attempt.sequence
        if key not in self.clients:
            settings, job = attempt.settings, attempt.job
            self.clients[key] = ServedDetectors(
                {name: self.handles[name] for name in attempt.model_versions},
                attempt.model_versions,
                configs(settings),
                settings.scanning.detector_timeout_s,
                True,
                lambda name, away: self.jobs.waits.remote(job, name, away),
            )
        self.clients.move_to_end(key)
        if len(self.clients) > JOBS_KEPT:
            self.clients.popitem(last=False)
        return self.clients[key]


def is_traced(batch: int) -> bool:
    """Whether this batch of a job, from 1, is in its trace: the first ones, then those whose numbers end in zeros."""
    return batch <= TRACED_BATCHES or not str(batch)[1:].strip("0")


def _traced_file(row: dict[str, Any], to: Path, settings: Settings, unpacked: Unpacked) -> detecting.File:
    with spans.span("fetch", asset=asset_id(row["uri"]), bytes=row["size"] or 0) as span:
        file = fetched_file(row, to, settings, unpacked)
        span.error = "failed" if file.source is None else None
        return file


def fetched_file(row: dict[str, Any], to: Path, settings: Settings, unpacked: Unpacked) -> detecting.File:
    """The file of a row of LEDGER: fetched or unpacked to `to`, or with the failure to do so.

    Rows of ledgers of earlier versions lack the columns after `segment`.
    """
    item = MediaItem(row["uri"], row["size"], row["etag"], row["kind"], row.get("parent"))
    roots, endpoint, attempts = Roots(settings.scanning.roots), settings.s3_endpoint, settings.scanning.attempts
    wanted = frozenset(row["detectors"])
    if row["segment"] is not None:  # its pictures and sounds are read where they lie, not the whole film
        source = Remote(item, endpoint, attempts, roots)
        return detecting.File(item, source, row["sha256"], wanted, Segment(**row["segment"]))
    file = detecting.File(item, to, None, wanted, contents=row.get("contents"), members=row.get("members"))
    file.failures += [Failure(**failure) for failure in row.get("failures") or ()]
    try:
        if item.parent is not None:
            file.sha256 = unpacked.member(item, to, settings)
        elif item.kind == "container":
            file.sha256 = unpacked.container(item, to, settings)
        else:
            file.sha256 = buckets.fetch(item, to, endpoint, attempts, settings.decoding.max_bytes, roots)
    except MediaError as error:
        file.source = None
        file.fail(error.step, error.reason)
    return file


def delete_leftovers() -> None:
    """Delete the fetched media that killed processes have left on this machine."""
    for folder in Path(gettempdir()).glob(f"{FETCHED}*-*"):
        pid = folder.name.removeprefix(FETCHED).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _report_lookup(event: str, by: int) -> None:
    """Record a look-up in the memo, as a listener of `events`."""
    if lookup := memo.lookup_of(event):
        detector, hit = lookup
        record(CACHE_LOOKUPS, by, detector=detector, outcome="hit" if hit else "miss")


def deployment(settings: Settings) -> Any:
    """The Serve deployment, one replica and, with the load, up to `scanning.workers`."""
    most = settings.scanning.workers
    scale: dict[str, Any] = {"num_replicas": 1}
    if most > 1:
        scale = {
            "autoscaling_config": {
                "min_replicas": 1,
                "max_replicas": most,
                "target_ongoing_requests": 2,
                "upscale_delay_s": 5.0,
                "downscale_delay_s": 120.0,
            }
        }
    return serve.deployment(Analysis).options(  # type: ignore[attr-defined]
        name="analysis",
        **scale,
        max_ongoing_requests=BATCHES_IN_FLIGHT,
        request_router_config={"initial_backoff_s": 0.005, "max_backoff_s": 0.05},
        ray_actor_options={"num_cpus": settings.scanning.worker_cpus, "runtime_env": {"env_vars": KEEP_BUFFERS}},
        graceful_shutdown_timeout_s=5,
        logging_config=setup.serve_config(settings.logs, "analysis"),
    )
