"""What compose.yaml and the Dockerfile say, for those who have no container engine to ask."""

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
    """A compose file, with its variables replaced."""
    given = env or {}

    def value(found: re.Match[str]) -> str:
        return given.get(found["name"]) or found["default"] or ""

    text = re.sub(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}", value, path.read_text())
    return dict(yaml.safe_load(text))


@dataclass(frozen=True)
class Image:
    """What the Dockerfile says of our image, as far as a plain process can be given it."""

    env: dict[str, str]
    workdir: str
    user: str
    code: list[str]  # what .dockerignore lets into it

    @classmethod
    def read(cls) -> "Image":
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
        env = dict(
            word.split("=", 1) for line in re.findall(r"^ENV (.+)", text, re.M) for word in shlex.split(line)
        )  # fmt: skip
        (workdir,) = re.findall(r"^WORKDIR (/srv/\S+)", text, re.M)
        (user,) = set(re.findall(r"^USER (\S+)", text, re.M))
        code = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M)
        return cls(env, workdir, user, [each.rstrip("/") for each in code])


def seconds(said: str) -> float:
    """What compose calls "5s" or "1m"."""
    return float(said[:-1]) * {"s": 1, "m": 60}[said[-1]]


def words(said: str | list[str]) -> list[str]:
    return shlex.split(said) if isinstance(said, str) else list(said)


def config(*files: str) -> dict[str, Any]:
    """What docker-compose makes of the files."""
    command = ["docker-compose", *(word for file in files for word in ("-f", file)), "config"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return dict(yaml.safe_load(said.stdout))
