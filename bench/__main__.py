"""Everything that `make bench` measures: `python -m bench`. It prints the targets and writes docs/performance.md.

bench.warm, bench.media and `raysift demo` run one after the other, each with a cluster of its own. The table goes
between the two marks of docs/performance.md, and as a picture into docs/pictures/performance.png.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from bench.engines import ENGINES
from bench.figures import RAYSIFT, write_part

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PICTURE = PAGE.parent / "pictures" / "performance.png"
BEGIN = "<!-- written by `make bench` -->"
Medians = dict[str, float]


@dataclass(frozen=True)
class Target:
    """A figure, from the medians of all benches, and its bounds; `is_floor`: the more the better."""

    name: str
    figure: Callable[[Medians], float]
    must: float
    aim: float | None = None
    is_floor: bool = False

    def is_met(self, medians: Medians) -> bool:
        """Whether it is within `must`."""
        value = self.figure(medians)
        return value >= self.must if self.is_floor else value <= self.must


def _of(name: str) -> Callable[[Medians], float]:
    return lambda medians: medians[name]


def _ratio(ours: str, plain: str) -> Callable[[Medians], float]:
    return lambda medians: medians[ours] / medians[plain]


def _steady(medians: Medians) -> float:
    """Images per CPU-second between 300 and 1,000 images, to the loop's."""
    more, many = (
        {who: medians[f"{who}, {count} images, CPU-s"] for who in ("loop", "raysift scan")} for count in (1000, 300)
    )
    return (more["loop"] - many["loop"]) / (more["raysift scan"] - many["raysift scan"])


def _bare_s(medians: Medians) -> float:
    return (medians["loop, 300 images, s"] - medians["loop, 10 images, s"]) / 290


TARGETS = (
    Target("first row of a warm `raysift scan`, s", _of("raysift scan, 300 images, first row, s"), 4, 1),
    Target("first row by `ray job submit`, s", _of("ray job submit, 10 images, first row, s"), 8, 5),
    Target("10 pictures, whole job, s", _of("raysift scan, 10 images, s"), 6, 2),
    Target("300 pictures, whole job, s", _of("raysift scan, 300 images, s"), 16, 10),
    Target("300 pictures, whole job, CPU-s", _of("raysift scan, 300 images, CPU-s"), 30, 18),
    Target("images per CPU-second, 300 to 1,000, to the loop", _steady, 0.75, 0.9, is_floor=True),
    Target(
        "`/v1/detect/nsfw` above the bare call, ms",
        lambda medians: medians["one request, ms"] - 1000 * _bare_s(medians),
        25,
        15,
    ),
    Target(
        "saturation, requests/s, to the loop on all cores",
        lambda medians: medians["saturated, requests/s"] * _bare_s(medians) / (os.cpu_count() or 1),
        0.6,
        0.8,
        is_floor=True,
    ),
    Target(
        "photographs, all image detectors, CPU to the loop",
        _ratio("raysift scan, 40 photographs, CPU-s", "loop, 40 photographs, CPU-s"),
        1.2,
        1.1,
    ),
    Target(
        "film of 60 s, all detectors, wall to the loop",
        _ratio("raysift scan, film of 60 s, s", "loop, film of 60 s, s"),
        0.65,
        0.55,
    ),
    Target(
        "a film's frames, wall to plain decoding",
        _ratio("film's frames, sampled, s", "film's frames, plain, s"),
        1.3,
        1.1,
    ),
    Target(
        "300 s of speech, CPU to faster-whisper's greedy decoding",
        _ratio("speech of 300 s, detector, CPU-s", "speech of 300 s, plain, CPU-s"),
        1.1,
        0.7,
    ),
    Target("idle cluster, cores", _of("idle, cores"), 0.15, 0.08),
    Target("idle cluster, PSS GB", _of("idle, PSS GB"), 3.2),
    Target("PSS after nine jobs, to idle", _ratio("PSS GB after the rounds", "idle, PSS GB"), 1.05),
    Target("`raysift up`, all detectors, s", _of("raysift up, all detectors, s"), 45, 30),
    Target("`raysift up`, all detectors, CPU-s", _of("raysift up, all detectors, CPU-s"), 70),
    Target("`make demo ARGS=--exit`, s", _of("raysift demo, s"), 40),
)


def measured(program: str, rounds: int) -> Medians:
    """Run a bench; its medians by name. SystemExit if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", program, "--rounds", str(rounds)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{program} failed: {done.stdout[-2000:]}")
    return {name: statistics.median(values) for name, values in json.loads(done.stdout.splitlines()[-1]).items()}


def demo() -> Medians:
    """The seconds of `raysift demo --exit` in a new folder."""
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        began = time.monotonic()
        subprocess.run(
            [RAYSIFT, "demo", "--exit"],
            env={**os.environ, "RAYSIFT_STATE_DIR": place},
            check=True,
            capture_output=True,
        )
        return {"raysift demo, s": time.monotonic() - began}


def rows(medians: Medians) -> list[tuple[str, str, str, str, str]]:
    """The targets: name, figure, must, aim, and whether it is met."""
    made = []
    for target in TARGETS:
        sign, value = ("≥" if target.is_floor else "≤"), target.figure(medians)
        aim = f"{sign} {target.aim:g}" if target.aim is not None else ""
        made.append(
            (target.name, f"{value:.2f}", f"{sign} {target.must:g}", aim, "yes" if target.is_met(medians) else "no")
        )
    return made


def engines(medians: Medians) -> list[tuple[str, float, float]]:
    """Who scanned 300 images, in how many seconds and CPU-seconds."""
    who = ("loop", *ENGINES, "raysift scan")
    return [
        (name, medians[f"{name}, 300 images, s"], medians[f"{name}, 300 images, CPU-s"])
        for name in who
        if f"{name}, 300 images, s" in medians
    ]


def draw(compared: list[tuple[str, float, float]]) -> None:
    """Write the picture: seconds and CPU-seconds of 300 images, engine by engine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.5 * len(compared) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [name for name, _, _ in compared]
    for offset, label, at in ((-0.2, "seconds", 1), (0.2, "CPU-seconds", 2)):
        places = [n + offset for n in range(len(names))]
        bars = axes.barh(places, [float(one[at]) for one in compared], 0.38, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("300 JPEGs of 1280 x 720, one model")
    axes.margins(x=0.1)  # room for the figures
    axes.legend()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def page(medians: Medians, rounds: int) -> str:
    """The part of docs/performance.md that the bench writes."""
    lines = [
        f"Medians of {rounds} rounds on {os.cpu_count()} cores ({platform.machine()}).",
        "",
        "| | figure | must | aim | met |",
        "|---|--:|--:|--:|---|",
        *(f"| {' | '.join(row)} |" for row in rows(medians)),
        "",
        "300 images, one model, in the same run:",
        "",
        "| | s | CPU-s |",
        "|---|--:|--:|",
        *(f"| {name} | {s:.1f} | {cpu_s:.1f} |" for name, s, cpu_s in engines(medians)),
        "",
        "![Seconds and CPU-seconds of each engine](pictures/performance.png)",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benches, print the targets, and write the page and its picture."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    medians = measured("bench.warm", rounds) | measured("bench.media", rounds) | demo()
    table = Table("figure", "measured", "must", "aim", "met")
    for row in rows(medians):
        table.add_row(*row)
    Console().print(table)
    draw(engines(medians))
    write_part(PAGE, BEGIN, page(medians, rounds))


if __name__ == "__main__":
    main()
