"""The process of `ray job submit -- python -m pipelines URI`: it hands its job to the queue and follows it.

The queue has a driver that is started and imported; this process imports neither Ray Data nor the pipeline.
"""

import logging
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayTaskError

from cluster.errors import SettingsError
from cluster.records import OVER
from cluster.storage import buckets
from deployments.jobs.job import Job
from deployments.serving.placement import APP
from pipelines.calls import Calls, own_names

log = logging.getLogger(__name__)

WAIT_S = 2.0  # between two looks at a job that runs; the queue answers at once when it is over


def hand_over(task: Job) -> dict[str, Any]:
    """Have the queue do a job, follow it to its end and return its name and its counts of units.

    SettingsError if Raysift does not run in this Ray cluster, the queue refuses the job or the job does not finish.
    SIGTERM, as `ray job stop` sends it, cancels the job.
    """
    ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    attempt, submission = own_names()
    name = task.job or submission or f"scan-{time.strftime('%Y%m%d-%H%M%S')}"
    out, uris = buckets.normalize(task.out), tuple(map(buckets.normalize, task.uris))
    try:
        jobs, catalog = (serve.get_deployment_handle(part, APP) for part in ("jobs", "catalog"))
        jobs.hand_over.remote(replace(task, job=name, out=out, uris=uris, attempts=(attempt,))).result(timeout_s=60)
    except RayTaskError as error:
        raise error.cause from None
    calls = Calls(out, name, attempt, jobs, catalog)
    signal.signal(signal.SIGTERM, lambda *_: _cancel(calls))
    return _follow(calls)


def _follow(calls: Calls) -> dict[str, Any]:
    last = None
    while True:
        job = calls.tell("followed", WAIT_S)
        if (job.state, job.message) != last:
            log.info("%s is %s%s", job.job, job.state, f": {job.message}" if job.message else "")
            last = job.state, job.message
        if job.state in OVER:
            break
    if job.state != "finished":
        raise SettingsError(f"job {job.job} did not finish: {job.message or job.state}")
    units = job.units or 0
    counts = {"units": units, "done": units, "failed": calls.failed(), "skipped": job.skipped}
    return {"job": job.job, "listed": job.files_listed, **counts, "left_out": job.left_out_files}


def _cancel(calls: Calls) -> None:
    calls.tell("cancel")
    sys.exit(1)
