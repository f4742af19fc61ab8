"""Mixed load on a cluster of its own, for an hour by default: `python -m bench.soak --seconds 3600`, or `make soak`.

Scans of new images in a loop, uploads, browsing and searches run at the same time, through the API. It samples the
memory of each kind of process, prints the latency and the failures of each route, the availability, and the memory.
It exits 1 if fewer than 99.9 % of the requests were answered, if a kind of process grew by more than GROWTH_MB in the
last two thirds of the time, if a process was killed for lack of memory or ended before its time, or if a scan did not
finish without a failed file. An hour or more is written into docs/reliability.md.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench.figures import write_part
from bench.growth import Watch
from bench.pressure import environment, exit_with, raysift
from bench.soak.figures import Requests, judge, page
from bench.soak.users import LOADS, one_scan, running
from cluster.processes import Processes
from cluster.settings import load
from deployments.detector import names

SAMPLE_S = 5.0  # between two looks at the processes
WRITTEN_S = 3600.0  # a shorter soak is a rehearsal
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- written by `make soak` -->"
console = Console()


def soak(home: Path, seconds: float, detectors: list[str]) -> list[str]:
    """Run the load in an empty folder; returns the problems. The cluster is stopped in any case."""
    variables = environment(home, detectors)
    allowed = json.dumps([str(home)])
    os.environ.clear()
    os.environ.update(variables | {"RAYSIFT_SCANNING__ROOTS": allowed, "RAYSIFT_SCANNING__OUTS": allowed})
    settings = load()
    try:
        raysift("up")
        one_scan(settings, Requests(), home, 0)  # for the others to find something; what starts late is up then
        watch, requests = Watch(Processes(settings)), Requests()
        console.print(f"{', '.join(work.__name__ for work in LOADS)}: for {seconds:.0f} s")
        with running(settings, requests, home):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                watch.look()
                time.sleep(min(SAMPLE_S, max(0.0, until - time.monotonic())))
        problems = judge(watch, requests)
        if seconds >= WRITTEN_S:
            write_part(PAGE, BEGIN, page(watch, requests, seconds, detectors))
        return problems
    finally:
        raysift("down")


def main() -> None:
    """Exit 0 if there are no problems, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--detectors", default="clip,nsfw", help="comma-separated; the others are disabled")
    options = parser.parse_args()
    detectors = options.detectors.split(",")
    if unknown := {*detectors} - {*names()}:
        parser.error(f"no detector {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops the cluster too
    with TemporaryDirectory(prefix="raysift-soak-", ignore_cleanup_errors=True) as folder:
        problems = soak(Path(folder).resolve(), options.seconds, detectors)
    exit_with(problems)


if __name__ == "__main__":
    main()
