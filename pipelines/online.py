"""The application that Serve runs: the detectors, the catalogue, and the Door with this pipeline behind its uploads."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from ray import serve

from cluster.records import MediaItem, Result, detection_row
from cluster.settings import Settings
from deployments.catalog import Catalog
from deployments.catalog_json import as_detection
from deployments.door import Door
from deployments.serving import ServedDetectors, deployments
from pipelines.detecting import File, analyze


async def analyze_upload(
    path: Path, name: str, wanted: frozenset[str], detectors: ServedDetectors, settings: Settings
) -> dict[str, Any]:
    """What is in an uploaded file, as an export line says it. Nothing is stored."""
    item = MediaItem(name, path.stat().st_size, etag="")
    file = File(item, path, await asyncio.to_thread(_sha256, path), wanted)
    (result,) = await analyze([file], detectors, settings.decoding)
    return _line(result)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _line(result: Result) -> dict[str, Any]:
    rows = [detection_row(finding) for finding in result.findings]
    return {
        "uri": result.item.uri,
        "sha256": result.sha256,
        "kind": result.item.kind,
        "width": result.width,
        "height": result.height,
        "duration_s": result.duration_s,
        "detections": [{**as_detection(row), "carried": row["carried"]} for row in rows],
        "errors": [{"step": failure.step, "reason": failure.reason} for failure in result.failures],
    }


def build(settings: Settings) -> serve.Application:
    """The whole application. SettingsError names a detector or key that is wrong."""
    catalog = serve.deployment(Catalog).options(  # type: ignore[attr-defined]
        name="catalog",
        num_replicas=1,  # it owns its file
        max_ongoing_requests=16,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=5,
    )
    path = settings.state_dir.absolute() / "catalog.duckdb"
    return Door.options(name="door").bind(  # type: ignore[attr-defined]
        deployments(settings), catalog.bind(path), analyze_upload, settings
    )
