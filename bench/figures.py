"""Figures of a bench by name, one value a round, and the blocks that are timed."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console

RAYSIFT = str(Path(sys.executable).parent / "raysift")  # the command
END = "<!-- end -->"  # of a part of a page that a bench writes
console = Console(stderr=True)


@dataclass
class Measured:
    """The values of each figure, one a round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add the value of a round, and print it."""
        self.values.setdefault(name, []).append(value)
        console.print(f"{name}: {value:.2f}")

    def median(self, name: str) -> float:
        """The median of the rounds."""
        return statistics.median(self.values[name])


@contextmanager
def timed(measured: Measured, name: str) -> Iterator[None]:
    """Add the wall-clock seconds and the machine's CPU-seconds of the block, as `NAME, s` and `NAME, CPU-s`."""
    began, used = time.monotonic(), cpu_s()
    yield
    measured.add(f"{name}, s", time.monotonic() - began)
    measured.add(f"{name}, CPU-s", cpu_s() - used)


def write_part(page: Path, begin: str, part: str) -> None:
    """Put a part into a page, between the line `begin` and END."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{part}\n{END}{rest.partition(END)[2]}")


def cpu_s() -> float:
    """The CPU-seconds that this machine has spent since its start."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)
