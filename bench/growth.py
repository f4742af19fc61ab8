"""Measure the memory of a cluster's processes, by kind, and the spilling of its object store, from outside."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from rich.table import Column, Table

from cluster.processes import FAMILY, Processes
from cluster.records import COLOCATED
from deployments.detector import names

REPORT_S = 5  # period of Ray's metrics; its spill metric is cumulative, so sampling misses nothing

# pattern of a process's command line -> its kind; the first match counts
KINDS = {
    r"ServeReplica:raysift:analysis": "analysis",
    r"^\S*python\S* -m pipelines\.media\.worker ": "decoders",
    r"^\S*python\S* -m pipelines ": "driver",
    r"ServeReplica:raysift:([\w+]+)": r"replica \1",
    r"^\S*/raylet ": "raylet",
    r"^\S*/gcs_server ": "GCS",
    r"/dashboard/dashboard\.py |^ray-dashboard-|multiprocessing\.|DashboardAgent": "dashboard",
    r"/chroma run ": "Chroma",
    r"/streamlit run ": "app",
    r"": "other parts of Ray",
}
METRICS = {
    "used": r"^ray_object_store_used_memory\{.*\} (\S+)$",
    "spilled": r'^ray_spill_manager_objects_bytes\{.*State="Spilled".*\} (\S+)$',
    "fallback": r"^ray_object_store_fallback_memory\{.*\} (\S+)$",  # files instead of shared memory
    "killed": r"^ray_memory_manager_worker_eviction(?:_total)?\{.*\} (\S+)$",  # absent while it is 0
}


@dataclass
class Held:
    """Time series of the total memory of all processes of a kind in MB, without the shared object store."""

    seconds: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)
    processes: int = 0  # highest number at a time

    def growth(self) -> tuple[float, float]:
        """Growth in MB per minute and in MB, by a linear fit to the last two thirds of the samples."""
        begin = self.seconds[0] + (self.seconds[-1] - self.seconds[0]) / 3
        late = [(at, mb) for at, mb in zip(self.seconds, self.mb, strict=True) if at >= begin]
        if len(late) < 3:
            return 0.0, 0.0
        at, mb = np.array(late).T
        slope = float(np.polyfit(at - at[0], mb, 1)[0])
        return slope * 60, slope * float(at[-1] - at[0])


class Watch:
    """Samples the memory of a cluster's processes on this machine, and the Ray metrics of its node."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.kinds: dict[str, Held] = {}
        self.most: dict[str, float] = {}  # name in METRICS -> highest value
        self.left_mb = float("inf")  # lowest available memory of the machine
        self.ended: Counter[str] = Counter()  # kind -> processes that were there at one look and not at the next
        self._there: dict[int, str] = {}  # process id -> its kind, at the last look
        self._killed_before = _killed_by_the_kernel()
        self._asked = -float("inf")

    def look(self) -> None:
        """Take one sample of the processes, and of Ray's metrics if REPORT_S have passed since the last one."""
        now = time.monotonic()
        self.left_mb = min(self.left_mb, psutil.virtual_memory().available / 1e6)
        sample: dict[str, list[float]] = {}
        there = {pid: kind(title) for pid, title in family(str(self.processes.state)).items()}
        self.ended.update(name for pid, name in self._there.items() if pid not in there)
        self._there = there
        for pid, name in there.items():
            with suppress(OSError, KeyError):  # the process has ended
                sample.setdefault(name, []).append(_own_mb(pid))
        for name, mb in sample.items():
            series = self.kinds.setdefault(name, Held())
            series.seconds.append(now)
            series.mb.append(sum(mb))
            series.processes = max(series.processes, len(mb))
        if now - self._asked >= REPORT_S:
            self._asked = now
            with suppress(httpx.HTTPError):
                self.ask()

    def ask(self) -> bool:
        """Read Ray's metrics of this node and keep the maxima; returns whether they include the object store.

        httpx.HTTPError if the node does not answer.
        """
        (port,) = (self.processes.ray_temp / "session_latest").glob("metrics_export_port_*")
        text = httpx.get(f"http://127.0.0.1:{port.read_text()}/metrics", timeout=30, trust_env=False).text
        present = set()
        for name, pattern in METRICS.items():
            if values := re.findall(pattern, text, re.MULTILINE):
                self.most[name] = max(self.most.get(name, 0.0), sum(map(float, values)))
                present.add(name)
        return {"used", "spilled"} <= present

    def wait_for_metrics(self, seconds: float) -> None:
        """Wait for Ray's metrics of the object store. SystemExit after `seconds`: spilling could not be measured."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if self.ask():
                    return
            time.sleep(1)
        sys.exit(f"Ray's metrics do not include the object store after {seconds:.0f} s")

    def killed_by_the_kernel(self) -> int:
        """The number of processes of this machine that the out-of-memory killer has killed since construction."""
        return _killed_by_the_kernel() - self._killed_before


def memory_table(watch: Watch) -> Table:
    """The memory of each kind of process, the largest first."""
    table = Table(
        Column("kind", no_wrap=True), "processes", "peak MB", "MB at the end", "MB per minute", "growth in MB"
    )
    for name, series in sorted(watch.kinds.items(), key=lambda item: -max(item[1].mb)):
        per_minute, grown = series.growth()
        figures = f"{series.processes} {max(series.mb):,.0f} {series.mb[-1]:,.0f} {per_minute:+,.1f} {grown:+,.0f}"
        table.add_row(name, *figures.split())
    return table


def too_much_growth(watch: Watch, most_mb: float, counts: Callable[[str], bool] = lambda kind: True) -> list[str]:
    """A sentence for each kind of process that counts and grew by more than `most_mb`."""
    grown = {name: series.growth()[1] for name, series in watch.kinds.items() if counts(name)}
    return [f"{name} grew by {mb:,.0f} MB; {most_mb:g} are allowed" for name, mb in grown.items() if mb > most_mb]


def kind(title: str) -> str:
    """The kind of a process with this command line."""
    matches = ((re.search(pattern, title), name) for pattern, name in KINDS.items())
    return next(match.expand(name) for match, name in matches if match)


def handles_media(kind: str) -> bool:
    """Whether processes of this kind process media: Analyze actors, decoders, the driver, detectors."""
    detectors = kind.removeprefix("replica ").split(COLOCATED)
    return kind in ("analysis", "decoders", "driver") or {*detectors} <= {*names()}


def family(state: str) -> dict[int, str]:
    """Process id -> command line of the processes of the cluster with this state folder."""
    ours: dict[int, tuple[int, str]] = {}
    others: dict[int, tuple[int, str]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.environ().get(FAMILY) == state
            (ours if is_ours else others)[process.pid] = process.ppid(), " ".join(process.cmdline())
    # some overwrite their environment with their title: they are found by their parents
    while joined := {pid for pid, (parent, _) in others.items() if parent in ours}:
        ours |= {pid: others.pop(pid) for pid in joined}
    return {pid: title for pid, (_, title) in ours.items()}


def _own_mb(pid: int) -> float:
    status = dict(_lines(f"/proc/{pid}/status", ":"))
    return (int(status["VmRSS"].split()[0]) - int(status["RssShmem"].split()[0])) * 1024 / 1e6


def _killed_by_the_kernel() -> int:
    return int(dict(_lines("/proc/vmstat", " "))["oom_kill"])


def _lines(file: str, separator: str) -> Iterator[tuple[str, str]]:
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(separator)
        yield name, value
