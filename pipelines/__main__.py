"""A job's driver: `python -m pipelines URI... --out URI`, as `ray job submit` and the queue of jobs run it."""

import argparse
import json
import logging
import signal
import sys
import time

from cluster.errors import SettingsError
from cluster.settings import Settings, load


def main() -> int:
    """The job's exit code: 0 all well, 3 finished with failed files, 1 not finished, 4 the cluster failed under it."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("uris", nargs="*", metavar="URI", help="folders, buckets or files")
    parser.add_argument("--out", help="where the results go; default: settings.results_uri")
    parser.add_argument("--detectors", help="only these, comma-separated; default: all")
    parser.add_argument("--job", help="the job's name: one that exists goes on; default: the name it has in Ray")
    parser.add_argument("--resume", metavar="JOB", help="go on with this job; its folder in --out says what is to do")
    parser.add_argument("--retry-failed", metavar="JOB", help="do again what failed in this job")
    asked = parser.parse_args()
    if bool(asked.uris) + bool(asked.resume) + bool(asked.retry_failed) != 1:
        parser.error("give URIs, or --resume JOB, or --retry-failed JOB")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every question to Chroma
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the driver interrupts itself when a job is hopeless
    try:
        return _run(asked, load())
    except SettingsError as error:
        print(f"raysift: {error}", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace, settings: Settings) -> int:
    from ray.exceptions import RayError, RayTaskError

    from deployments.jobs.drivers import DIED_WITH_THE_CLUSTER
    from pipelines.driver import Task, resumed, scan

    started = time.monotonic()
    out = asked.out or settings.results
    wanted = tuple(asked.detectors.split(",")) if asked.detectors else ()
    if asked.resume:
        task = resumed(out, asked.resume, settings)
    else:
        task = Task(tuple(asked.uris), wanted, retry_of=asked.retry_failed)
    try:
        outcome = scan(task, out, asked.resume or asked.job, settings)
    except RayTaskError:
        raise
    except RayError:
        logging.getLogger(__name__).exception("the cluster failed under the job")
        return DIED_WITH_THE_CLUSTER
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
