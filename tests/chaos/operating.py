"""A cluster of a copy of this code, with a Prometheus and a collector of traces, for tests of its operation."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster.processes import Processes
from cluster.settings import Settings
from deployments.detector import names
from tests.chaos.conftest import settings
from tests.support.cluster import Cluster, environment
from tests.support.paths import ROOT
from tests.support.servers.otlp import Arrived, Backend, collector
from tests.support.servers.prometheus import Prometheus, prometheus

CODE = ("app", "cluster", "commands", "deployments", "pipelines", "raysift.py")
DETECTORS = ("barcode", "clip", "nsfw", "ocr")


@dataclass(frozen=True)
class Operated:
    """The cluster, the copy of the code that it runs, what watches it, and the folder that it may scan."""

    cluster: Cluster
    code: Path
    prometheus: Prometheus
    traces: Backend
    settings: Settings
    home: Path


@contextmanager
def operated(folder: Path) -> Iterator[Operated]:
    """Run it until the end of the block. Its settings.yaml, beside the code, is empty at first."""
    code, home = folder / "code", folder / "home"
    code.mkdir()
    home.mkdir()
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, code)
    rules = yaml.safe_load((ROOT / "monitoring" / "alerts.yaml").read_text())
    with collector(folder) as (endpoint, backend):
        variables = environment(
            home / "state",
            PYTHONPATH=str(code),
            RAYSIFT_TRACES__ENDPOINT=endpoint,
            RAYSIFT_SCANNING__ROOTS=f'["{home}"]',
            RAYSIFT_SCANNING__OUTS=f'["{home}"]',
            **{f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name not in DETECTORS},
        )
        cluster = Cluster(variables, cwd=code, command=(sys.executable, "-m", "raysift"))
        of_it = settings(variables)
        discovery = Processes(of_it).ray_temp / "prom_metrics_service_discovery.json"
        try:
            started = cluster.raysift("up")
            assert started.returncode == 0, started.stderr
            with prometheus(folder / "prometheus", discovery, rules) as server:
                yield Operated(cluster, code, server, backend, of_it, home)
        finally:
            cluster.raysift("down")


def pictures() -> Path | None:
    """The folder, such as docs/pictures, that gets what these tests draw and quote; without $RAYSIFT_PICTURES none."""
    named = os.environ.get("RAYSIFT_PICTURES")
    return Path(named).absolute() if named else None


def outline(spans: list[Arrived], trace: str, of: Callable[[Arrived], bool] = lambda span: True) -> list[str]:
    """The spans of a trace as lines, those that are a part of another below it and further right."""
    parts = [span for span in spans if span.trace == trace]
    known = {span.id for span in parts}

    def below(parent: str, depth: int) -> list[str]:
        own = [span for span in parts if (span.parent if span.parent in known else "") == parent and of(span)]
        lines = []
        for span in sorted(own, key=lambda span: span.began_s):
            facts = " ".join(f"{key}={value}" for key, value in span.attributes.items() if key != "raysift.id")
            took_ms = (span.ended_s - span.began_s) * 1000
            lines.append(f"{'  ' * depth + span.name:<32}{took_ms:>9,.0f} ms  {span.service:<18} {facts}".rstrip())
            lines += below(span.id, depth + 1)
        return lines

    return below("", 0)
