"""The figures of a soak: latency and failures by route, availability, memory; and what is wrong with them."""

import json
import os
import re
import threading
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from bench.growth import Watch, memory_table, too_much_growth
from bench.pressure import GROWTH_MB

AVAILABILITY = 0.999
STAY = r"replica |Chroma|app|GCS|raylet"  # kinds of processes that stay; a leak would not show if they were replaced
console = Console()


class Requests:
    """What was asked and answered, by route. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms: dict[str, list[float]] = defaultdict(list)
        self._failed: Counter[str] = Counter()  # by route
        self.failures: Counter[str] = Counter()  # by route and reason
        self.unfinished: list[str] = []  # a sentence for each scan that did not finish without a failed file
        self.scans = self.files = 0

    def note(self, route: str, seconds: float, failure: str | None) -> None:
        """Count a request."""
        with self._lock:
            self._ms[route].append(seconds * 1000)
            if failure is not None:
                self._failed[route] += 1
                self.failures[f"{route}: {failure}"] += 1

    def scanned(self, job: dict[str, Any]) -> None:
        """Count a scan that is over."""
        self.scans, self.files = self.scans + 1, self.files + job["done"]
        if job["state"] != "finished" or job["failed"]:
            self.unfinished.append(f"a scan ended as {job['state']}, {job['failed']} files failed: {job['message']}")

    @property
    def asked(self) -> int:
        """The number of requests."""
        return sum(map(len, self._ms.values()))

    @property
    def failed(self) -> int:
        """The number of those that were not answered, or not with success."""
        return self._failed.total()

    @property
    def availability(self) -> float:
        """The share of the requests that were answered with success; 0 without any."""
        return 1 - self.failed / self.asked if self.asked else 0.0

    def routes(self) -> list[tuple[str, list[float]]]:
        """Each route with its numbers of requests and of failed ones, and the 50th, 95th and 99th percentile in ms."""
        return [
            (route, [len(ms), self._failed[route], *np.percentile(ms, [50, 95, 99]).round(1).tolist()])
            for route, ms in sorted(self._ms.items())
        ]


def judge(watch: Watch, requests: Requests) -> list[str]:
    """Print the figures; returns a sentence for each problem."""
    table = Table(Column("route", no_wrap=True), "requests", "failed", "p50 ms", "p95 ms", "p99 ms")
    for route, latencies in requests.routes():
        table.add_row(route, *(f"{figure:,.0f}" for figure in latencies))
    asked, failed, availability = requests.asked, requests.failed, requests.availability
    killed = watch.most.get("killed", 0.0) + watch.killed_by_the_kernel()
    console.print(table)
    console.print(memory_table(watch))
    for line in (
        f"{asked:,} requests, {failed:,} failed: availability {availability:.4%}",
        f"{requests.scans} scans of {requests.files:,} images; killed for lack of memory: {killed:.0f}",
        f"lowest available memory of the machine: {watch.left_mb:,.0f} MB",
        *(f"{count} times: {failure}" for failure, count in requests.failures.most_common()),
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    grown = {name: [round(figure, 1) for figure in series.growth()] for name, series in watch.kinds.items()}
    print(json.dumps({"availability": availability, "routes": dict(requests.routes()), "growth_mb": grown}))
    problems = too_much_growth(watch, GROWTH_MB) + requests.unfinished
    problems += [f"{name}: {n} processes ended" for name, n in watch.ended.items() if re.match(STAY, name)]
    if not asked or availability < AVAILABILITY:
        problems.append(f"{failed:,} of {asked:,} requests failed; {1 - AVAILABILITY:.1%} may")
    if killed:
        problems.append("a process was killed for lack of memory")
    return problems


def page(watch: Watch, requests: Requests, seconds: float, detectors: list[str]) -> str:
    """The part of docs/reliability.md that a soak of an hour or more writes."""
    killed = watch.most.get("killed", 0.0) + watch.killed_by_the_kernel()
    lines = [
        f"{seconds / 60:,.0f} minutes with {' and '.join(detectors)} on {os.cpu_count()} cores. "
        f"{requests.asked:,} requests, {requests.failed:,} of them failed, availability {requests.availability:.4%}. "
        f"{requests.scans} scans of {requests.files:,} images, {len(requests.unfinished)} with a failure. "
        f"Processes killed for lack of memory: {killed:.0f}.",
        "",
        "| route | requests | failed | p50 ms | p95 ms | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
        *(f"| `{route}` | {' | '.join(f'{n:,.0f}' for n in numbers)} |" for route, numbers in requests.routes()),
        "",
        "| processes | number | peak MB | MB at the end | growth in the last two thirds, MB |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, series in sorted(watch.kinds.items(), key=lambda item: -max(item[1].mb)):
        numbers = f"{series.processes} | {max(series.mb):,.0f} | {series.mb[-1]:,.0f} | {round(series.growth()[1]):+,}"
        lines.append(f"| {name} | {numbers} |")
    failures = [f"- {n} times: {failure}" for failure, n in requests.failures.most_common()]
    return "\n".join([*lines, "", *failures]).strip()
