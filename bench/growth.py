"""What the processes of a cluster hold, by kind, and what its object store puts onto the disk: seen from outside."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from cluster.processes import FAMILY, Processes
from deployments.detector import names
from deployments.serving.placement import COLOCATED

REPORT_S = 5  # Ray's figures may be as old as this; what is spilled it adds up, so nothing of that is missed

# what stands in the command line of a process: the first that fits
KINDS = {
    r"MapWorker\(MapBatches\(Analyze\)\)": "Analyze actors",
    r"^\S*python\S* -m pipelines\.isolated ": "decoders",
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
    "fallback": r"^ray_object_store_fallback_memory\{.*\} (\S+)$",  # files that stand in for shared memory
    "killed": r"^ray_memory_manager_worker_eviction(?:_total)?\{.*\} (\S+)$",  # there once it is more than 0
}


@dataclass
class Held:
    """What the processes of a kind held together, their view of the object store left out, in MB by the second."""

    seconds: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)
    processes: int = 0  # at most

    def growth(self) -> tuple[float, float]:
        """MB a minute and MB in all, by a straight line through the last two thirds."""
        begin = self.seconds[0] + (self.seconds[-1] - self.seconds[0]) / 3
        late = [(at, mb) for at, mb in zip(self.seconds, self.mb, strict=True) if at >= begin]
        if len(late) < 3:
            return 0.0, 0.0
        at, mb = np.array(late).T
        slope = float(np.polyfit(at - at[0], mb, 1)[0])
        return slope * 60, slope * float(at[-1] - at[0])


class Watch:
    """Looks at the processes of a cluster on this machine, and asks its node for its metrics."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.kinds: dict[str, Held] = {}
        self.most: dict[str, float] = {}  # of METRICS
        self.left_mb = float("inf")  # of the machine's memory, at least
        self._killed_before = _killed_by_the_kernel()
        self._asked = -float("inf")

    def look(self) -> None:
        """Once. Ray is asked only as often as it has something new to tell."""
        now = time.monotonic()
        self.left_mb = min(self.left_mb, psutil.virtual_memory().available / 1e6)
        found: dict[str, list[float]] = {}
        for pid, title in family(str(self.processes.state)).items():
            with suppress(OSError, KeyError):  # it has gone
                found.setdefault(kind(title), []).append(_own_mb(pid))
        for name, held in found.items():
            of = self.kinds.setdefault(name, Held())
            of.seconds.append(now)
            of.mb.append(sum(held))
            of.processes = max(of.processes, len(held))
        if now - self._asked >= REPORT_S:
            self._asked = now
            with suppress(httpx.HTTPError):
                self.ask()

    def ask(self) -> bool:
        """What Ray tells of this node, in bytes and processes: the most is kept. Whether it told of the store."""
        (port,) = (self.processes.ray_temp / "session_latest").glob("metrics_export_port_*")
        told = httpx.get(f"http://127.0.0.1:{port.read_text()}/metrics", timeout=30, trust_env=False).text
        heard = set()
        for name, pattern in METRICS.items():
            if values := re.findall(pattern, told, re.MULTILINE):
                self.most[name] = max(self.most.get(name, 0.0), sum(map(float, values)))
                heard.add(name)
        return {"used", "spilled"} <= heard

    def until_told(self, seconds: float) -> None:
        """Wait for Ray's figures. SystemExit if they do not come: nothing could be said of what is spilled."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if self.ask():
                    return
            time.sleep(1)
        sys.exit(f"Ray's metrics told nothing of the object store in {seconds:.0f} s")

    def killed_by_the_kernel(self) -> int:
        """Processes of this machine, since this began, for want of memory."""
        return _killed_by_the_kernel() - self._killed_before


def kind(title: str) -> str:
    """What a process is, by its command line."""
    fits = ((re.search(pattern, title), name) for pattern, name in KINDS.items())
    return next(match.expand(name) for match, name in fits if match)


def handles_media(kind: str) -> bool:
    """Whether media pass through processes of this kind."""
    detectors = kind.removeprefix("replica ").split(COLOCATED)
    return kind in ("Analyze actors", "decoders", "driver") or {*detectors} <= {*names()}


def family(state: str) -> dict[int, str]:
    """The command lines of a cluster's processes, by their ids."""
    ours: dict[int, tuple[int, str]] = {}
    others: dict[int, tuple[int, str]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.environ().get(FAMILY) == state
            (ours if is_ours else others)[process.pid] = process.ppid(), " ".join(process.cmdline())
    # some write their title over their environment: they are known by their parents
    while joined := {pid for pid, (parent, _) in others.items() if parent in ours}:
        ours |= {pid: others.pop(pid) for pid in joined}
    return {pid: title for pid, (_, title) in ours.items()}


def _own_mb(pid: int) -> float:
    said = dict(_lines(f"/proc/{pid}/status", ":"))
    return (int(said["VmRSS"].split()[0]) - int(said["RssShmem"].split()[0])) * 1024 / 1e6


def _killed_by_the_kernel() -> int:
    return int(dict(_lines("/proc/vmstat", " "))["oom_kill"])


def _lines(file: str, between: str) -> Iterator[tuple[str, str]]:
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(between)
        yield name, value
