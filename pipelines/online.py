"""The application that Serve runs: detectors, catalogue, jobs, and the Door with this pipeline behind its uploads."""

import asyncio
import hashlib
from functools import cache
from pathlib import Path

from ray import serve

from cluster import gpus
from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.catalog import Catalog
from deployments.door import Door
from deployments.jobs import Jobs
from deployments.serving import ServedDetectors, deployments
from pipelines.detecting import File, analyze
from pipelines.isolating import Decoder
from pipelines.verifying import verify


async def analyze_upload(
    path: Path, name: str, wanted: frozenset[str], detectors: ServedDetectors, settings: Settings
) -> Result:
    """What is in an uploaded file. Nothing is stored, nor remembered."""
    item = MediaItem(name, path.stat().st_size, etag="")
    file = File(item, path, await asyncio.to_thread(_sha256, path), wanted)
    (result,) = await analyze([file], detectors, _decoder(), settings.decoding, stored=False)
    return result


@cache
def _decoder() -> Decoder:
    """This process's own: its children are started once."""
    return Decoder()


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def build(settings: Settings) -> serve.Application:
    """The whole application. SettingsError names a detector or key that is wrong."""
    catalog = serve.deployment(Catalog).options(  # type: ignore[attr-defined]
        name="catalog",
        num_replicas=1,  # it owns its file
        max_ongoing_requests=16,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=5,
    )
    jobs = serve.deployment(Jobs).options(  # type: ignore[attr-defined]
        name="jobs",
        num_replicas=1,  # it owns its file
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=5,
    )
    state = settings.state_dir.absolute()
    return Door.options(name="door").bind(  # type: ignore[attr-defined]
        deployments(settings, gpus.cards()),
        catalog.bind(state / "catalog-3.duckdb"),  # the number of its tables' layout
        jobs.bind(state / "jobs.sqlite", settings),
        analyze_upload,
        verify,
        settings,
    )
