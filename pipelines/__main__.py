"""The driver of a job: `python -m pipelines URI... --out URI`, as started by `ray job submit` and the queue of jobs."""

import argparse
import json
import logging
import sys
import time
from typing import Any

from cluster.errors import SettingsError
from cluster.logs import setup
from cluster.permissions import prove
from cluster.settings import Settings, load
from cluster.traces import exporting


def main() -> int:
    """Run the job and return its exit code: 0 done, 3 done with failed files, 1 not done, 4 the cluster failed."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description=__doc__)
    parser.add_argument("uris", nargs="*", metavar="URI", help="folders, buckets or files")
    parser.add_argument("--out", help="where the results go; default: settings.results_uri")
    parser.add_argument(
        "--detectors", action="append", default=[], help="only these, comma-separated or repeated; default: all"
    )
    parser.add_argument("--exclude", action="append", default=[], help="leave out names that match, such as '*.tmp'")
    parser.add_argument(
        "--job",
        "--resume",
        metavar="JOB",
        help="name of the job; a job that has a folder in --out is continued. Default: its name in Ray",
    )
    parser.add_argument("--retry-failed", metavar="JOB", help="analyse the failed files of this job again")
    parser.add_argument("--standby", action="store_true", help="wait for jobs of the queue, and do them")
    arguments = parser.parse_args()
    if arguments.uris and arguments.retry_failed:
        parser.error("give URIs or --retry-failed JOB, not both")
    if not (arguments.uris or arguments.retry_failed or arguments.job or arguments.standby):
        parser.error("give URIs, or --retry-failed JOB, or the --job JOB to continue")
    try:
        settings = load()
        setup.driver(settings.logs)
        exporting.start(settings.traces, "driver")
        if arguments.standby:
            from pipelines.standby import wait_for_jobs

            return wait_for_jobs()
        return _run(arguments, settings)
    except SettingsError as error:
        print(f"raysift: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    from ray.exceptions import RayError, RayTaskError

    from deployments.jobs.drivers import DIED_WITH_THE_CLUSTER, FINISHED, FINISHED_WITH_FAILED_FILES

    started = time.monotonic()
    try:
        summary = _summary(arguments, settings)
    except RayTaskError:
        raise
    except RayError:
        logging.getLogger(__name__).exception("the cluster failed under the job")
        return DIED_WITH_THE_CLUSTER
    print(json.dumps(summary | {"seconds": round(time.monotonic() - started, 1)}))
    return FINISHED_WITH_FAILED_FILES if summary["failed"] else FINISHED


def _summary(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Do the job, or have the queue do it; returns its name and its counts of units."""
    out = arguments.out or settings.results
    if not (arguments.uris or arguments.retry_failed):
        # a driver: the queue, or an operator who resumes a job by hand, gives the name of the job alone
        from pipelines.driver import resumed, scan

        outcome = scan(resumed(out, arguments.job, settings), settings)
        return {key: getattr(outcome, key) for key in ("job", "units", "done", "failed", "skipped")}
    from deployments.jobs.job import Job
    from pipelines.handing_over import hand_over

    # who names URIs is the operator
    proof = prove(settings, arguments.uris, out) if arguments.uris else ""
    task = Job(
        job=arguments.job or "",
        uris=tuple(arguments.uris),
        out=out,
        submitted_at=time.time(),
        detectors=tuple(name.strip() for option in arguments.detectors for name in option.split(",")),
        exclude=tuple(arguments.exclude),
        retry_of=arguments.retry_failed,
        proof=proof,
    )
    return hand_over(task)


if __name__ == "__main__":
    sys.exit(main())
