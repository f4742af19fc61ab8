"""`raysift logs`: the log lines of one job or request, from all nodes."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.errors import SettingsError
from cluster.settings import load
from cluster.traces import spans
from commands.terminal import console, say, waiting

MOST_LINES = 10_000  # of one node
NODE_S = 60.0  # for a node to start a worker and read its logs
FILES = ("serve/*.log*", "job-driver-*.log")  # of replicas, proxies and the controller; of drivers
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Lines = list[tuple[str, str]]  # file, line


def logs(
    job: Annotated[str | None, typer.Option(help="The name of a job.")] = None,
    request: Annotated[str | None, typer.Option(help="The X-Request-ID of an answer of the API.")] = None,
) -> None:
    """Print what all nodes have logged about one job or request. On the head.

    Of nodes that are gone, and of logs that Ray has rotated away, nothing is left.
    """
    if (job is None) == (request is None):
        raise SettingsError("name one of --job and --request.")
    id = str(job or request)
    with waiting("reading the logs of all nodes"):
        found = gather(id)
    for host, lines in found.items():
        if isinstance(lines, str):
            say(f"==> {host}: its logs cannot be read: {lines}")
            continue
        for n, (file, line) in enumerate(lines):
            if not n or lines[n - 1][0] != file:
                say(f"==> {host} {file}")
            typer.echo(line)
    if not any(found.values()):
        raise SettingsError(f"nothing is logged about {id}. `raysift jobs list` names the jobs.")
    if load().traces.endpoint is not None:
        say(f"its trace: {spans.trace_id(id)}", console)


def gather(id: str) -> dict[str, Lines | str]:
    """Host and address -> its lines about an id, or why they cannot be had. SettingsError if no cluster is here."""
    _connect()
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        task = ray.remote(num_cpus=0, max_retries=0)(_on_node)
        tasks = {
            f"{node['NodeManagerHostname']} {node['NodeManagerAddress']}": task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(id)
            for node in ray.nodes()
            if node["Alive"]
        }
        found: dict[str, Lines | str] = {}
        for host, answer in tasks.items():
            try:
                found[host] = ray.get(answer, timeout=NODE_S)
            except (RayError, TimeoutError) as error:
                found[host] = type(error).__name__
        return found
    finally:
        ray.shutdown()


def lines_about(folder: Path, id: str, most: int = MOST_LINES) -> Lines:
    """The lines of a node's logs that have the id as a word, with the traceback after each; `most` at most."""
    found: Lines = []
    for file in sorted((file for pattern in FILES for file in folder.glob(pattern)), key=_age):
        for line in _about(file, id):
            if len(found) >= most:
                return found
            found.append((str(file.relative_to(folder)), line))
    return found


def _age(file: Path) -> tuple[str, int]:
    """A key that sorts the files of one log by age: Ray moves full ones to NAME.log.1, and these to NAME.log.2."""
    name, _, number = str(file).rpartition(".log.")
    return (f"{name}.log", -int(number)) if number.isdigit() and name else (str(file), 0)


def _about(file: Path, id: str) -> Iterator[str]:
    is_about, word = False, re.compile(rf"(?<![\w.-]){re.escape(id)}(?![\w.-])")
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if _begins(line):
                is_about = word.search(line) is not None
            if is_about:
                yield line.rstrip("\n")


def _begins(line: str) -> bool:
    """Whether a line begins a record, and does not continue a traceback."""
    return line.startswith(("{", *LEVELS)) or line[:4].isdigit()


def _connect() -> None:
    from cluster.processes import Processes

    processes = Processes(load())
    own = "ray" in processes.alive()
    if own:
        os.environ.update(processes.environment())
    import ray  # only now: it reads the path of its token at its import

    try:
        address = os.environ["RAY_ADDRESS"] if own else "auto"
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise SettingsError("no Ray cluster runs on this machine: run it on the head, while Raysift is up.") from None


def _on_node(id: str) -> Lines:
    """The lines of the node that this task runs on."""
    import ray._private.worker

    node: Any = ray._private.worker._global_node
    return lines_about(Path(node.get_logs_dir_path()), id)
