"""The application that Serve runs: the detectors, the catalogue, the jobs, the keys, and the API for uploads."""

import asyncio
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from ray import serve

from cluster import gpus
from cluster.access.audit import Audit
from cluster.decisions import store as decisions
from cluster.errors import SettingsError
from cluster.logs import setup
from cluster.logs.settings import Logs
from cluster.people import store as people
from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.access.service import Access
from deployments.api.ingress import Ingress
from deployments.catalog import database
from deployments.catalog.catalog import Catalog
from deployments.catalog.people.faces import StoredVectors
from deployments.detector import names
from deployments.jobs.queue import Jobs
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import deployments
from deployments.serving.status import is_running
from pipelines import analysis
from pipelines.detect.detecting import File, analyze
from pipelines.ledger.originals import Originals
from pipelines.ledger.planning import answered_plan
from pipelines.media.pool import Decoder
from pipelines.results.verifying import verify

PARTS = ("driver", "api", "analysis", "catalog", "jobs", "access")  # with logs of their own, beside the detectors
HEAD = "node:__internal_head__"  # a resource that Ray gives the head of every cluster


async def analyze_upload(
    path: Path, name: str, wanted: frozenset[str], detectors: ServedDetectors, settings: Settings
) -> Result:
    """Analyse an uploaded file with the detectors `wanted`. Nothing is stored or cached."""
    item = MediaItem(name, path.stat().st_size, etag="")
    file = File(item, path, await asyncio.to_thread(_sha256, path), wanted)
    (result,) = await analyze([file], detectors, _decoder(), settings.decoding, stored=False)
    return result


@cache
def _decoder() -> Decoder:
    """The decoder of this process; its child processes are started once."""
    return Decoder()


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def build(settings: Settings) -> serve.Application:
    """Build the whole application. SettingsError names a detector or key that is wrong.

    Serve's launchers call it by name, as cluster/serve.yaml does, with the settings under `args` there; all others come
    from settings.yaml and the environment.
    """
    if unknown := sorted(settings.logs.levels.keys() - {*PARTS, *names()}):
        raise SettingsError(f"logs.levels: there is no {unknown[0]!r}; there are {', '.join((*PARTS, *names()))}.")
    state = settings.state_dir.absolute()
    settings = settings.model_copy(update={"state_dir": state})  # other nodes have another working directory
    api = Ingress.options(  # type: ignore[attr-defined]
        name="api",
        num_replicas=settings.api.replicas,
        logging_config=setup.serve_config(settings.logs, "api"),
        # one lost node must not stop two of them; a single one is upgraded by another that starts beside it
        **({"max_replicas_per_node": 1} if settings.api.replicas > 1 else {"max_surge_percent": 100}),
    )
    detectors = deployments(settings, _cards(settings))
    jobs = _owner(Jobs, "jobs", 100, settings.logs).bind(state / "jobs.sqlite", settings, ready=is_running)
    return api.bind(
        detectors,
        _owner(Catalog, "catalog", 16, settings.logs).bind(
            state / database.FILE,
            of=settings.results,
            s3_endpoint=settings.s3_endpoint,
            decisions=state / decisions.FILE,
            faces=state / people.FILE,
            vectors=StoredVectors(settings),
            audit=Audit(state),
        ),
        jobs,
        _owner(Access, "access", 100, settings.logs).bind(settings),
        analysis.deployment(settings).bind(detectors, jobs, settings),
        analyze_upload,
        verify,
        answered_plan,
        settings,
        Originals(_decoder),
    )


def _cards(settings: Settings) -> list[gpus.Card]:
    """The GPUs that shares are planned for. This process may run on a node without any."""
    declared = settings.ray.card_gb
    return gpus.cards() if declared is None else [gpus.Card("declared", declared, declared)]


def _owner(kind: type, name: str, requests: int, logs: Logs) -> Any:
    """A deployment with one replica, which owns a file and handles up to `requests` requests at a time.

    It runs on the head, because its file is on the head's disk and Ray's Jobs API listens there.
    """
    return serve.deployment(kind).options(  # type: ignore[attr-defined]
        name=name,
        num_replicas=1,
        max_ongoing_requests=requests,
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 0.001}},
        graceful_shutdown_timeout_s=5,
        logging_config=setup.serve_config(logs, name),
    )
