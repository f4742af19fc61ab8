"""A running Raysift for tests, started and asked by the ways that its users have."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.browser import free_port
from tests.support.paths import ROOT

BAD = {"broken.jpg", "empty.png", "zero.mp4", "letter.jpg", "huge.png"}  # the broken files of the fixture `media`


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

    def api(self) -> httpx.Client:
        return httpx.Client(base_url=self.url("API__"), timeout=120, trust_env=False)

    def export(self, folder: str) -> dict[str, dict[str, Any]]:
        """What was found under a results folder, by the file's name."""
        lines = map(json.loads, self.raysift("export", "--from", folder).stdout.splitlines())
        return {line["uri"].rsplit("/", 1)[-1]: line for line in lines}


def environment(state: Path, **more: str) -> dict[str, str]:
    """Of a Raysift that is nobody else's: its own state, its own ports."""
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT")
    own = {f"RAYSIFT_{key}": str(free_port()) for key in ports}
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAYSIFT_", "RAY_"))}
    return plain | own | {"RAYSIFT_STATE_DIR": str(state)} | more
