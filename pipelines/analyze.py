"""The steps of a job as Ray Data pipelines: cut long videos; then read the ledger, analyse, store.

A block of the ledger is one task, which reads its rows, has the deployment `analysis` analyse them and writes the
result. Ray reuses the processes of these tasks, and they import no decoder and no detector.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pyarrow as pa
import ray
from pyarrow import fs
from ray import serve
from ray.data import DataContext, Dataset, ExecutionResources, SaveMode
from ray.data._internal.datasource.parquet_datasink import ParquetDatasink
from ray.data.checkpoint import CheckpointConfig
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cluster.records import ModelVersion
from cluster.results import files as results_files
from cluster.results import layout
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.traces import exporting, spans
from deployments import correlation
from deployments.detector import DetectorAway
from deployments.serving.client import CLUSTER_FAULT
from deployments.serving.placement import APP
from pipelines.attempt import Attempt
from pipelines.ledger.blocks import LedgerSource

# The work of a block, in images times detectors, by profile: a few seconds, so that a kill loses little and results
# appear early. A small model takes 0.05 to 1 s for an image on a CPU, a large one about 0.02 s on a GPU.
WORK = {"embedded": 32, "gpu": 512}
# a large job commits more units at a time: ten million files must not become millions of small files of results
RESULT_FILES = 4096
MAX_UNITS_PER_BLOCK = 1000
BLOCKS_IN_FLIGHT = 2  # for each replica of `analysis`
START_S = 120.0  # of a process on a busy machine
TASK_CPUS = 0.05  # of a task: it waits


def cut(uncut: str, ledger: str, videos: int, settings: Settings) -> int:
    """Cut the long videos among `videos` listed ones and add the units of all to the ledger; returns the number added.

    `uncut`: the folder of the listed videos; `ledger`: that of the ledger.
    """
    DataContext.get_current().checkpoint_config = None
    files, place = buckets.filesystem(ledger, settings.s3_endpoint)
    before = set(results_files.committed(ledger, settings.s3_endpoint))
    _write(_process(uncut, 1, _cut, {"settings": settings}, settings), files, place)
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
    """Analyse the units of the ledger (`units` of them) that this job has not committed yet, into files of its folder.

    `out` is the folder of results. `sequence` is the number of this attempt at the job, which every row gets.

    Ray commits a block's rows and its checkpoint in two phases: a run that is killed and started again under the same
    job continues where it stopped; no unit is stored twice. DetectorAway if a detector was unavailable for too long.
    """
    files, results = results_files.sink(out, settings.s3_endpoint)
    _, place = buckets.filesystem(layout.job_folder(out, job), settings.s3_endpoint)
    DataContext.get_current().checkpoint_config = CheckpointConfig(
        id_column="unit_id",
        checkpoint_path=f"{results}/_raysift/jobs/{job}/checkpoint",
        override_filesystem=files,
        delete_checkpoint_on_success=False,
    )
    most = min(MAX_UNITS_PER_BLOCK, units // RESULT_FILES) * len(model_versions)
    attempt = Attempt(job, sequence, model_versions, settings, spans.carried())
    with _detector_away():
        rows = _process(ledger, max(WORK[settings.profile], most), _analyze, {"attempt": attempt}, settings)
        if attempt.trace is None:
            _write(rows, files, place)
        else:
            rows.write_datasink(_TracedSink(files, place, attempt), ray_remote_args={"num_cpus": TASK_CPUS})


class _TracedSink(ParquetDatasink):
    """Writes rows as `_write` does, and records how long each block took to write."""

    def __init__(self, files: fs.FileSystem, place: str, attempt: Attempt) -> None:
        super().__init__(place, filesystem=files, mode=SaveMode.APPEND)
        self._attempt = attempt

    def write(self, blocks: Any, ctx: Any) -> None:
        blocks = list(blocks)  # one task reads, analyses and writes: this is where it waits for the analysis
        with spans.span("write", self._attempt.trace, rows=sum(len(block) for block in blocks)):
            super().write(blocks, ctx)


def start_workers(settings: Settings) -> None:
    """Start the processes in which tasks of the next job will run, with their imports, while there is room for them.

    Then, by a dataset of one row, the actors and threads that Ray Data starts for its first dataset.
    """
    task = ray.remote(num_cpus=TASK_CPUS)(_prepare)
    tasks = [task.remote() for _ in range(_tasks(settings))]
    ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=START_S)
    if len(ready) == len(tasks):
        DataContext.get_current().enable_progress_bars = False
        row = ray.data.from_arrow(pa.table({"n": [0]}))
        row.map_batches(_unchanged, batch_format="pyarrow", num_cpus=TASK_CPUS).materialize()


def _prepare() -> None:
    _analysis()
    time.sleep(1.0)  # every task gets a process of its own


def _unchanged(rows: pa.Table) -> pa.Table:
    return rows


def _process(folder: str, work: int, step: Any, arguments: dict[str, Any], settings: Settings) -> Dataset:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    source = LedgerSource(folder, work, settings.s3_endpoint)
    # without `concurrency`, and with equal options: so Ray Data fuses read, step and write into one task
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=TASK_CPUS * _tasks(settings))
    return ray.data.read_datasource(
        source, override_num_blocks=max(1, len(source.blocks)), num_cpus=TASK_CPUS
    ).map_batches(step, fn_kwargs=arguments, batch_size=None, batch_format="pyarrow", num_cpus=TASK_CPUS)


def _write(rows: Dataset, files: fs.FileSystem, place: str) -> None:
    """Write rows as Parquet files of a folder, which may have others."""
    rows.write_parquet(place, filesystem=files, mode=SaveMode.APPEND, ray_remote_args={"num_cpus": TASK_CPUS})


def _tasks(settings: Settings) -> int:
    """How many tasks run at a time."""
    return BLOCKS_IN_FLIGHT * settings.scanning.workers


def _analyze(units: pa.Table, attempt: Attempt) -> pa.Table:
    correlation.set_id(attempt.job)  # it goes with the call to `analysis`, and from there to the detectors
    if attempt.trace is not None:
        exporting.start(attempt.settings.traces, "tasks")
    return _call("analyze", units, attempt, attempt.settings)


def _cut(units: pa.Table, settings: Settings) -> pa.Table:
    return _call("cut", units, settings, settings)


def _call(method: str, units: pa.Table, argument: Any, settings: Settings) -> pa.Table:
    """One call of the deployment `analysis`, made again while it is absent.

    It has no deadline: it waits for absent detectors as long as the settings allow, and Serve replaces a replica that
    hangs, which ends the call.
    """
    waits = wait_random_exponential(max=5)
    for attempt in Retrying(
        retry=retry_if_exception_type(CLUSTER_FAULT),
        wait=waits,
        stop=stop_after_delay(settings.scanning.detector_timeout_s),
        reraise=True,
    ):
        with attempt:
            return getattr(_analysis(), method).remote(units, argument).result()
    raise AssertionError


@cache
def _analysis() -> DeploymentHandle[Any]:
    return serve.get_deployment_handle("analysis", APP)


@contextmanager
def _detector_away() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        # Ray Data passes on a task's exception only as text
        if away := re.search(rf"{DetectorAway.__name__}: ([\w, ]+)", str(error)):
            raise DetectorAway(away[1]) from error
        raise
