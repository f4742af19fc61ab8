"""What the tests share: one S3 server and one cluster for the whole session, started by our own doors."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import free_port
from PIL import Image
from seaweed import Seaweed, seaweed

from pipelines import demo

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
BAD = {"broken.jpg", "empty.png", "zero.mp4", "letter.jpg", "huge.png"}


@dataclass(frozen=True)
class Cluster:
    """A running Raysift, as its operator has it: a shell environment, a command line, an API, an app."""

    environment: dict[str, str]
    cwd: Path = ROOT
    command: tuple[str, ...] = (str(Path(sys.executable).parent / "raysift"),)

    def raysift(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.environment[f'RAYSIFT_{part}PORT']}"

    def door(self) -> httpx.Client:
        return httpx.Client(base_url=self.url("DOOR__"), timeout=120, trust_env=False)

    def export(self, folder: str) -> dict[str, dict[str, Any]]:
        """What was found under a results folder, by the file's name."""
        lines = map(json.loads, self.raysift("export", "--from", folder).stdout.splitlines())
        return {line["uri"].rsplit("/", 1)[-1]: line for line in lines}


def environment(state: Path, **more: str) -> dict[str, str]:
    """Of a Raysift that is nobody else's: its own state, its own ports."""
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "DOOR__PORT", "CHROMA__PORT", "APP__PORT")
    own = {f"RAYSIFT_{key}": str(free_port()) for key in ports}
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAYSIFT_", "RAY_"))}
    return plain | own | {"RAYSIFT_STATE_DIR": str(state)} | more


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3: Seaweed) -> Iterator[Cluster]:
    state = tmp_path_factory.mktemp("raysift") / "state"
    up = Cluster(environment(state, AWS_ENDPOINT_URL=s3.endpoint, **s3.environment()))
    started = up.raysift("up")
    assert started.returncode == 0, started.stderr
    yield up
    stopped = up.raysift("down")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's files, and all that can be wrong with a file."""
    folder = demo.make(tmp_path_factory.mktemp("media") / "files")
    (folder / "empty.png").touch()
    (folder / "zero.mp4").touch()
    (folder / "letter.jpg").write_text("Dear reader, this is no picture.")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    (folder / "notes.txt").write_text("not media by its name: left alone")
    return folder


@pytest.fixture(scope="session")
def scanned(cluster: Cluster, media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], int]:
    """The results folder of a scan, its last line, its exit code."""
    out = str(tmp_path_factory.mktemp("results"))
    done = cluster.raysift("scan", str(media), "--out", out, "--json")
    assert done.stdout, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1]), done.returncode
