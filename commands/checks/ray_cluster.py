"""Checks of Ray through its dashboard: the token, the version, the nodes, and what several nodes must share."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from cluster import gpus
from cluster.processes import Processes
from cluster.settings import Settings
from commands.checks.check import Check

_OPEN = Check(
    "Ray's token",
    "note",
    "Ray requires none: whoever reaches a port of its nodes may run programs there. Start it with RAY_AUTH_MODE=token.",
)
FULL = 0.9  # of a node's disk; Ray stores no objects on one that is 95 % full


@dataclass(frozen=True, slots=True)
class Token:
    """The token of Ray's API: from a file, or from the environment."""

    file: Path | None
    value: str = ""

    def read(self) -> str:
        """The token. OSError if its file does not exist or may not be read."""
        return self.value or (self.file.read_text().strip() if self.file else "")

    @property
    def place(self) -> str:
        """Where the token is: a path, or the name of the environment variable."""
        return "RAY_AUTH_TOKEN" if self.file is None else str(self.file)


def token(processes: Processes, environment: Mapping[str, str]) -> Token:
    """The token of `raysift up`, if it has started this machine's Ray; otherwise from where Ray itself reads it."""
    if "ray" in processes.alive():
        return Token(processes.token_file)
    if value := environment.get("RAY_AUTH_TOKEN"):
        return Token(None, value)
    return Token(Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"))


def ray_cluster(settings: Settings, token: Token, client: httpx.Client, elsewhere: bool = False) -> Iterator[Check]:
    """Check Ray and its nodes. `elsewhere`: this machine need not be the head, which alone serves the dashboard."""
    url = settings.ray.dashboard_url
    try:
        mode = client.get(f"{url}/api/authentication_mode").json()["authentication_mode"]
    except httpx.TransportError as error:
        yield _silent(url, error, elsewhere)
        return
    except (json.JSONDecodeError, KeyError, TypeError):
        yield Check("Ray", "fails", f"the server at {url} is not Ray. Stop it, or set ray.dashboard_port.")
        return
    given, found = _token(token) if mode == "token" else ("", _OPEN)
    if found.state == "fails":
        yield found
        return
    headers = {"Authorization": f"Bearer {given}"} if given else {}
    response = client.get(f"{url}/api/version", headers=headers)
    if response.status_code in (401, 403):
        yield Check(
            "Ray's token",
            "fails",
            f"Ray at {url} refuses the token of {token.place}: its head was started with another. Set "
            "RAY_AUTH_TOKEN_PATH to the head's file, or copy that file here.",
        )
        return
    yield found
    yield _version(response.json()["ray_version"], url)
    nodes = client.get(f"{url}/nodes?view=summary", headers=headers).json()
    yield from _nodes(nodes["data"]["summary"], settings)


def _silent(url: str, error: httpx.TransportError, elsewhere: bool) -> Check:
    if elsewhere:
        return Check("Ray", "note", f"only its head serves its dashboard: run `raysift doctor` there to check {url}")
    return Check(
        "Ray",
        "fails",
        f"nothing answers at {url} ({type(error).__name__}). Start it: `raysift up`, or what launches it on several "
        "machines. Or correct ray.dashboard_port.",
    )


def _token(token: Token) -> tuple[str, Check]:
    """The token, empty if there is none, and the check of it."""
    try:
        given = token.read()
    except OSError as error:
        given, reason = "", f"{token.place}: {error.strerror}"
    else:
        reason = f"{token.place} is empty"
    if not given:
        advice = "Set RAY_AUTH_TOKEN_PATH to the file that the head was started with."
        return "", Check("Ray's token", "fails", f"Ray requires a token, and there is none here ({reason}). {advice}")
    if token.file and _loose(token.file):
        others = f"other users here may read {token.file}, and run programs as Ray's user: `chmod 600 {token.file}`"
        return given, Check("Ray's token", "note", others)
    return given, Check("Ray's token", "ok", token.place)


def _loose(file: Path) -> bool:
    """Whether others may read a file of this user. They cannot if its folder is closed to them."""
    facts = file.stat()
    others = facts.st_mode & 0o044 and file.parent.stat().st_mode & 0o011
    return bool(others) and facts.st_uid == os.getuid()


def _version(there: str, url: str) -> Check:
    here = version("ray")
    if there == here:
        return Check("Ray", "ok", f"{there} at {url}")
    return Check(
        "Ray",
        "fails",
        f"{there} runs at {url}, and {here} is installed here. Install requirements.lock on every machine.",
    )


def _nodes(summary: list[dict[str, Any]], settings: Settings) -> Iterator[Check]:
    alive = [node for node in summary if node["raylet"].get("state") == "ALIVE"]
    for node in alive:
        yield _node(node)
    if gone := len(summary) - len(alive):
        yield Check("nodes", "ok", f"{len(alive)} alive, {gone} dead")
    if len(alive) > 1:
        yield from _shared(settings, len(alive))


def _node(node: dict[str, Any]) -> Check:
    raylet, disks = node["raylet"], node.get("disk")
    head = ", the head" if raylet.get("isHeadNode") else ""
    name = f"node {node.get('ip') or raylet.get('nodeManagerAddress', 'without an address yet')}{head}"
    if not disks:  # its agent reports a few seconds after its raylet
        return Check(name, "note", "has just joined: its disk is not known yet")
    has = raylet.get("resourcesTotal", {})
    where = raylet.get("tempDir", "/")
    disk = disks.get(where) or disks["/"]
    message = (
        f"{has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs, {has.get('memory', 0) / gpus.GB:.1f} GB of memory; "
        f"{disk['free'] / gpus.GB:.1f} GB free at {where}"
    )
    full = 1 - disk["free"] / disk["total"] > FULL
    if full:
        message += (
            ": little, and Ray stores nothing on a disk that is 95 % full. Free some, or start Ray with --temp-dir."
        )
    return Check(name, "note" if full else "ok", message)


def _shared(settings: Settings, nodes: int) -> Iterator[Check]:
    """Check the settings that may be local to one machine, but must be shared by several."""
    for key, uri, who in (
        ("results_uri", settings.results, "each node would write its own"),
        ("galleries_uri", settings.galleries, "a detector sees only those of its node"),
    ):
        if uri.startswith("file://"):
            local = f"{uri} is a folder, and there are {nodes} nodes: {who}. Set a bucket, or mount it on every node."
            yield Check(key, "note", local)
    if settings.cache.redis_url is None:
        own = f"each of the {nodes} nodes has a cache file of its own. Set it to a Redis that all reach."
        yield Check("cache.redis_url", "note", own)
