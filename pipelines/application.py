"""The application that Serve runs: detectors, catalogue, jobs, and the API with this pipeline behind its uploads."""

import asyncio
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from ray import serve

from cluster import gpus
from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.api.ingress import Ingress
from deployments.catalog.catalog import Catalog
from deployments.jobs.queue import Jobs
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import deployments
from pipelines.detect.detecting import File, analyze
from pipelines.media.pool import Decoder
from pipelines.results.verifying import verify

HEAD = "node:__internal_head__"  # a resource that Ray gives the head of every cluster


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
    """The whole application. SettingsError names a detector or key that is wrong.

    Serve's own launchers call it by name, as cluster/serve.yaml does, with what it says under `args`; what is not said
    there comes from settings.yaml and the environment.
    """
    state = settings.state_dir.absolute()
    settings = settings.model_copy(update={"state_dir": state})  # parts that run elsewhere have another working folder
    api = Ingress.options(  # type: ignore[attr-defined]
        name="api",
        num_replicas=settings.api.replicas,
        max_replicas_per_node=1,  # the loss of a node never takes two; one that is missing waits for the node's return
    )
    return api.bind(
        deployments(settings, _cards(settings)),
        _owner(Catalog, "catalog", 16).bind(
            state / "catalog-3.duckdb",  # the number of its tables' layout
            of=settings.results,
            s3_endpoint=settings.s3_endpoint,
        ),
        _owner(Jobs, "jobs", 100).bind(state / "jobs.sqlite", settings),
        analyze_upload,
        verify,
        settings,
    )


def _cards(settings: Settings) -> list[gpus.Card]:
    """Those that shares are planned for. This process may run on a node that has none."""
    declared = settings.ray.card_gb
    return gpus.cards() if declared is None else [gpus.Card("declared", declared, declared)]


def _owner(kind: type, name: str, requests: int) -> Any:
    """A deployment of one replica, which owns its file, and so many requests at a time: on the head, whose disk it is
    and whose Jobs API it asks.
    """
    return serve.deployment(kind).options(  # type: ignore[attr-defined]
        name=name,
        num_replicas=1,
        max_ongoing_requests=requests,
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
        graceful_shutdown_timeout_s=5,
    )
