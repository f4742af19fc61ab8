"""The steps joined, as a stream of Ray Data: ledger, fetch, decode, detect, store."""

import asyncio
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, SaveMode
from ray.data.checkpoint import CheckpointConfig

from cluster import buckets, results
from cluster.errors import MediaError
from cluster.records import SCHEMA, Failure, MediaItem, to_row
from cluster.settings import Settings
from deployments.serving import connect
from pipelines import detecting


class Analyze:
    """An actor of the job: rows of the ledger in, rows of results out, one for one."""

    def __init__(self, models: dict[str, str], settings: Settings, job: str) -> None:
        self.settings = settings
        self.job = job
        self.detectors = connect(models, settings)

    async def __call__(self, units: pa.Table) -> pa.Table:
        rows = units.to_pylist()
        with TemporaryDirectory(prefix="raysift-") as folder:
            fetched = (asyncio.to_thread(self._fetch, row, Path(folder) / str(n)) for n, row in enumerate(rows))
            files = await asyncio.gather(*fetched)
            found = await detecting.analyze(files, self.detectors, self.settings.decoding)
        told = [to_row(result, row["unit_id"], self.job) for result, row in zip(found, rows, strict=True)]
        return pa.Table.from_pylist(told, schema=SCHEMA)

    def _fetch(self, row: dict[str, Any], to: Path) -> detecting.File:
        item = MediaItem(row["uri"], row["size"], row["etag"], row["kind"])
        file = detecting.File(item, to, sha256=None, wanted=frozenset(row["detectors"]))
        limits = self.settings
        try:
            file.sha256 = buckets.fetch(
                item, to, limits.s3_endpoint, limits.scanning.attempts, limits.decoding.max_bytes
            )
        except MediaError as error:
            file.path = None
            file.failures.append(Failure(error.step, error.reason))
        return file


def run(ledger: str, units: int, out: str, job: str, models: dict[str, str], settings: Settings) -> None:
    """Analyse every unit of the ledger, of so many, that this job has not committed yet, into Parquet files of `out`.

    Ray commits a block's rows and its checkpoint in two phases: a run that is killed and started again with the same
    job goes on where it was, and no unit is stored twice.
    """
    files, place = results.sink(out, settings.s3_endpoint)
    _, ledger_place = buckets.filesystem(ledger, settings.s3_endpoint)
    blocks = math.ceil(units / settings.scanning.units_per_block)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.checkpoint_config = CheckpointConfig(
        id_column="unit_id",
        checkpoint_path=f"{place}/_raysift/jobs/{job}/checkpoint",
        override_filesystem=files,
        delete_checkpoint_on_success=False,
    )
    (
        ray.data.read_parquet(ledger_place, filesystem=files)
        # the reader packs a whole ledger into one block: nothing would be parallel, and a kill would lose everything
        .repartition(target_num_rows_per_block=settings.scanning.units_per_block)
        .map_batches(
            Analyze,
            fn_constructor_args=(models, settings, job),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(settings.scanning.workers, blocks)),
            num_cpus=0.1,
        )
        .write_parquet(place, filesystem=files, mode=SaveMode.APPEND, ray_remote_args={"num_cpus": 0.1})
    )
