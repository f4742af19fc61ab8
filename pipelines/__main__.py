"""A scan: `python -m pipelines URI... --out URI`, as `ray job submit` and `raysift scan` run it on the cluster."""

import argparse
import json
import logging
import sys
import time

from cluster.errors import SettingsError
from cluster.settings import load
from pipelines.scanning import scan


def main() -> int:
    """The job's exit code: 0 all well, 3 finished with failed files, 1 not finished."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("uris", nargs="+", metavar="URI", help="folders, buckets or files")
    parser.add_argument("--out", help="where the results go; default: settings.results_uri")
    parser.add_argument("--detectors", help="only these, comma-separated; default: all")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every question to Chroma
    started = time.monotonic()
    try:
        settings = load()
        wanted = asked.detectors.split(",") if asked.detectors else None
        outcome = scan(asked.uris, asked.out or settings.results, wanted, settings)
    except SettingsError as error:
        print(f"raysift: {error}", file=sys.stderr)
        return 1
    told = {
        "job": outcome.job,
        "units": outcome.units,
        "done": outcome.done,
        "failed": outcome.failed,
        "skipped": outcome.skipped,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(told))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
