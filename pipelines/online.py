"""The application that Serve runs: the detectors, the catalogue, and the Door with this pipeline behind its uploads."""

import asyncio
import hashlib
from pathlib import Path

from ray import serve

from cluster import gpus
from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.catalog import Catalog
from deployments.door import Door
from deployments.serving import ServedDetectors, deployments
from pipelines.detecting import File, analyze


async def analyze_upload(
    path: Path, name: str, wanted: frozenset[str], detectors: ServedDetectors, settings: Settings
) -> Result:
    """What is in an uploaded file. Nothing is stored."""
    item = MediaItem(name, path.stat().st_size, etag="")
    file = File(item, path, await asyncio.to_thread(_sha256, path), wanted)
    (result,) = await analyze([file], detectors, settings.decoding)
    return result


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
    path = settings.state_dir.absolute() / "catalog-2.duckdb"  # the number of its tables' layout
    return Door.options(name="door").bind(  # type: ignore[attr-defined]
        deployments(settings, gpus.cards()), catalog.bind(path), analyze_upload, settings
    )
