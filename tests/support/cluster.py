"""A running Raysift for tests, controlled through its public interfaces: the command line and the HTTP API."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.browser import free_port
from tests.support.paths import ROOT

LAST_CHARACTERS = 6000  # of the output of a command that does not end
BAD = {"broken.jpg", "empty.png", "zero.mp4", "letter.jpg", "huge.png"}  # invalid files of the fixture `media`


@dataclass(frozen=True)
class Cluster:
    """Access to a running Raysift: the environment variables of a shell, the command line, the API, the app."""

    environment: dict[str, str]
    cwd: Path = ROOT
    command: tuple[str, ...] = (str(Path(sys.executable).parent / "raysift"),)

    def raysift(self, *arguments: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run `raysift ARGUMENTS` to its end; returns its exit code and output.

        AssertionError after `timeout` seconds, with its output and with what each of its threads was doing.
        """
        with subprocess.Popen(
            [*self.command, *arguments],
            env={**self.environment, "PYTHONFAULTHANDLER": "1"},  # SIGABRT then prints the stacks of all threads
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                shown = f"`raysift {' '.join(arguments)}` did not end within {timeout:.0f} s"
                raise AssertionError("\n".join((shown, *_rest(process)))) from None
            finally:
                process.kill()
            return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def url(self, part: str) -> str:
        """The base URL of a part, given by the prefix of its port setting: `API__`, `APP__`, `RAY__DASHBOARD_`."""
        return f"http://127.0.0.1:{self.environment[f'RAYSIFT_{part}PORT']}"

    def api(self) -> httpx.Client:
        """An HTTP client of the API with the key of the machine, an admin's, and a timeout of 120 s."""
        headers = {"Authorization": f"Bearer {self.key_file.read_text()}"}
        return httpx.Client(base_url=self.url("API__"), headers=headers, timeout=120, trust_env=False)

    @property
    def key_file(self) -> Path:
        """The key of the machine's own command line, an admin's."""
        return Path(self.environment["RAYSIFT_STATE_DIR"]) / "operator_key"

    def export(self, folder: str) -> dict[str, dict[str, Any]]:
        """Run `raysift export` on a results folder; returns file name -> exported line."""
        lines = map(json.loads, self.raysift("export", "--from", folder).stdout.splitlines())
        return {line["uri"].rsplit("/", 1)[-1]: line for line in lines}


def _rest(process: "subprocess.Popen[str]") -> list[str]:
    """The last lines of the output of a process that ends now. Its children may have the pipes, and keep them open."""
    output: tuple[str | bytes | None, ...]
    try:
        output = process.communicate(timeout=10)
    except subprocess.TimeoutExpired as late:
        output = late.stdout, late.stderr
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else part or "" for part in output]
    return [text[-LAST_CHARACTERS:] for text in texts]


def environment(state: Path, **more: str) -> dict[str, str]:
    """Environment variables of an isolated Raysift: this process's, less all RAYSIFT_ and RAY_ ones, with the state
    folder `state`, free ports, and `more`.
    """
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT")
    own = {f"RAYSIFT_{key}": str(free_port()) for key in ports}
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAYSIFT_", "RAY_"))}
    return plain | own | {"RAYSIFT_STATE_DIR": str(state)} | more
