"""Measure what the check of a key costs a request to /v1/detect: `python -m bench.key_check`, and with `--cluster`.

One API process answers requests that differ in one header, which says whether its check is left out (`off`), finds the
key checked a moment ago (`known`), or asks the owner of the keys (`asked`). They take turns, one by one, and the
medians are compared. Without `--cluster` the API's whole application is called in this process, with a stub of the
analysis and the real file of keys, and CPU time is measured, which other programs change little. With it, wall-clock
time is measured of requests over HTTP to a second API, which this bench deploys beside that of the running cluster
(`raysift up`, with the same settings as here), with its detectors and its owner of the keys.
"""

import argparse
import asyncio
import io
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import httpx
import ray
from PIL import Image
from ray import serve
from rich.console import Console
from rich.table import Table
from starlette.types import Message, Scope

from cluster.access.identity import Identity
from cluster.access.limits import Limits
from cluster.processes import Processes
from cluster.records import COLOCATED, MediaItem, Result
from cluster.settings import Settings, load
from commands.terminal import authorization
from deployments.access import authentication
from deployments.access.service import Access
from deployments.api.guards.quotas import Quotas
from deployments.api.ingress import Ingress
from deployments.serving.placement import APP
from pipelines.application import analyze_upload
from pipelines.ledger.originals import Originals
from pipelines.ledger.planning import answered_plan
from pipelines.media.pool import Decoder
from pipelines.results.verifying import verify
from tests.support.api_server import application

HEADER, MODES = "x-key-check", ("off", "known", "asked")
NAME = PREFIX = "key-check"  # of the second API
WARM_UP = 20  # requests of each mode that are not counted

Seconds = dict[str, list[float]]  # mode -> of each request


class Switched(authentication.Verifier):
    """The API's check of keys, which the request's header leaves out or has forget what it knows."""

    found: Identity | None = None  # of the last check

    async def identify(self, scope: Scope) -> Identity | None:
        """As Verifier, by the mode in the header."""
        mode = dict(scope["headers"]).get(HEADER.encode(), b"").decode()
        if mode == "off" and self.found is not None:
            return self.found
        if mode == "asked":
            self._known.clear()
        self.found = await super().identify(scope)
        return self.found


class SwitchedIngress(Ingress.func_or_class):  # type: ignore[name-defined]
    """The API with the check that can be switched."""

    async def __init__(self, *arguments: Any) -> None:  # type: ignore[misc]
        """As Ingress."""
        await super().__init__(*arguments)
        authentication.use(Switched(self.access))


def taken(ask: Callable[[str], float], rounds: int) -> Seconds:
    """The seconds of `rounds` requests of each mode, in turns of random order."""
    seconds: Seconds = {mode: [] for mode in MODES}
    for number in range(WARM_UP + rounds):
        for mode in random.sample(MODES, len(MODES)):
            took = ask(mode)
            if number >= WARM_UP:
                seconds[mode].append(took)
    return seconds


def picture() -> bytes:
    """A small JPEG of noise, so that the analysis takes little of the time."""
    noise = Image.frombytes("RGB", (64, 64), random.randbytes(64 * 64 * 3))
    noise.save(content := io.BytesIO(), "JPEG")
    return content.getvalue()


@contextmanager
def in_process(folder: Path) -> Iterator[Callable[[str], float]]:
    """A function that sends a request of a mode to the API's application in this process; returns its CPU seconds."""
    settings = Settings(state_dir=folder)
    owner = Access(settings)
    _, key = owner.add_key(Identity("the bench", "admin"), "bench", "reviewer", None, None, "")
    ask_owner = SimpleNamespace(remote=lambda token: asyncio.to_thread(owner.identify, token))  # as Serve does

    async def analyze(path: Path, *_: Any) -> Result:
        return Result(MediaItem(str(path), 1, "", "image"), sha256="0" * 64)

    attributes = {
        "identifies": Switched(SimpleNamespace(identify=ask_owner)),
        "settings": settings,
        "detectors": SimpleNamespace(handles={"nsfw": None}, model_versions={"nsfw": SimpleNamespace(model="m")}),
        "analyze": analyze,
        "quotas": Quotas(Limits(requests_per_s=1e9, upload_gb_per_hour=1e9)),
    }
    request = httpx.Request("POST", "http://127.0.0.1/v1/detect/nsfw", files={"file": ("a.jpg", picture())})
    body = request.read()
    with asyncio.Runner() as runner, application(**attributes) as app:
        sent = [(name.lower(), value) for name, value in request.headers.raw]
        sent.append((b"authorization", f"Bearer {key}".encode()))

        def ask(mode: str) -> float:
            headers = [*sent, (HEADER.encode(), mode.encode())]
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
                "path": request.url.path, "raw_path": request.url.raw_path, "root_path": "", "query_string": b"",
                "headers": headers, "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 8000),
            }  # fmt: skip
            statuses = []

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message: Message) -> None:
                statuses.extend([message["status"]] if "status" in message else [])

            async def answered() -> float:
                began = time.process_time()
                await app(scope, receive, send)
                return time.process_time() - began

            took = runner.run(answered())
            if statuses != [200]:
                raise SystemExit(f"the API answers {statuses}")
            return took

        yield ask


@contextmanager
def on_cluster(detector: str) -> Iterator[Callable[[str], float]]:
    """The same over HTTP, to a second API in the running cluster, for the time of the block; it returns seconds."""
    settings = load()
    settings = settings.model_copy(update={"state_dir": settings.state_dir.absolute()})
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    deployed = serve.status().applications[APP].deployments
    name = next(name for name in deployed if detector in name.split(COLOCATED))
    handles = {part: serve.get_deployment_handle(part, APP) for part in (name, "catalog", "jobs", "access")}
    others = (handles["catalog"], handles["jobs"], handles["access"], None)
    api = serve.deployment(SwitchedIngress).options(  # type: ignore[attr-defined]
        name="api", ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=100
    )
    bound = api.bind(
        {detector: handles[name]}, *others, analyze_upload, verify, answered_plan, settings, Originals(Decoder)
    )
    try:
        serve.run(bound, name=NAME, route_prefix=f"/{PREFIX}")
        url, upload = f"{settings.api.url}/{PREFIX}/v1/detect/{detector}", picture()
        with httpx.Client(headers=authorization(settings), timeout=60, trust_env=False) as client:

            def ask(mode: str) -> float:
                began = time.perf_counter()
                answer = client.post(url, files={"file": ("a.jpg", upload)}, headers={HEADER: mode})
                took = time.perf_counter() - began
                answer.raise_for_status()
                return took

            yield ask
    finally:
        serve.delete(NAME)


def join_cluster() -> None:
    """Start this program again with the variables of the cluster, as Ray reads them when it is imported."""
    variables = Processes(load()).environment()
    if os.environ.get("RAY_ADDRESS") != variables["RAY_ADDRESS"]:
        os.execve(sys.executable, sys.orig_argv, os.environ | variables)


def table(seconds: Seconds) -> Table:
    """Medians of the modes in ms, and of the differences to the request before or after without a check."""
    shown = Table("the check", "median, ms", "more than off: median of the pairs, ms", "half of them between, ms")
    for mode in MODES:
        pairs = [1000 * (one - off) for one, off in zip(seconds[mode], seconds["off"], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4) if mode != "off" else (0.0, 0.0, 0.0)
        shown.add_row(
            mode, f"{1000 * statistics.median(seconds[mode]):.3f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"
        )
    return shown


def main() -> None:
    """Measure, and print the table and, as the last line, all values in ms as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.key_check", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="ask the running cluster instead of this process")
    parser.add_argument("--detector", default="nsfw", help="of the cluster's, which analyses the picture")
    parser.add_argument("--rounds", type=int, default=1000, help="each has a request of each mode")
    options = parser.parse_args()
    if options.cluster:
        join_cluster()
    with TemporaryDirectory(prefix="raysift-bench-") as folder:
        asking = on_cluster(options.detector) if options.cluster else in_process(Path(folder))
        with asking as ask:
            seconds = taken(ask, options.rounds)
    Console().print(table(seconds))
    print(json.dumps({mode: [round(1000 * value, 3) for value in values] for mode, values in seconds.items()}))


if __name__ == "__main__":
    main()
