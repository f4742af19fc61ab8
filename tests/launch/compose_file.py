"""Read compose.yaml and the Dockerfile without a container engine."""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import ROOT


def read(path: Path = ROOT / "compose.yaml", env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Parse a compose file, with its ${NAME:-default} variables replaced from `env`."""
    variables = env or {}

    def value(match: re.Match[str]) -> str:
        return variables.get(match["name"]) or match["default"] or ""

    text = re.sub(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}", value, path.read_text())
    return dict(yaml.safe_load(text))


@dataclass(frozen=True)
class Image:
    """The properties of our image that also apply to a process without a container."""

    env: dict[str, str]
    workdir: str
    user: str
    code: list[str]  # files and folders that .dockerignore lets into the image

    @classmethod
    def read(cls) -> "Image":
        """Parse the Dockerfile and .dockerignore."""
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
        env = dict(
            word.split("=", 1) for line in re.findall(r"^ENV (.+)", text, re.M) for word in shlex.split(line)
        )  # fmt: skip
        (workdir,) = re.findall(r"^WORKDIR (/srv/\S+)", text, re.M)
        (user,) = set(re.findall(r"^USER (\S+)", text, re.M))
        code = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M)
        return cls(env, workdir, user, [path.rstrip("/") for path in code])


def seconds(duration: str) -> float:
    """Parse a duration of compose ("5s", "1m") into seconds."""
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def words(command: str | list[str]) -> list[str]:
    """A command of compose, a shell line or a list, as a list of arguments."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def config(*files: str) -> dict[str, Any]:
    """The merged configuration that `docker-compose -f FILE... config` prints."""
    command = ["docker-compose", *(word for file in files for word in ("-f", file)), "config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))
