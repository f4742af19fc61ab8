"""A driver that waits for jobs of the queue, and does one at a time. It has started and imported everything before."""

import sys
import traceback
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError

from cluster.errors import SettingsError
from cluster.settings import load
from deployments.jobs.drivers import DIED_WITH_THE_CLUSTER, HEADING, NOT_FINISHED
from deployments.jobs.standby import TAKE_S, Assignment
from deployments.serving.placement import APP, versions
from deployments.serving.status import running
from pipelines import analyze
from pipelines.calls import own_names
from pipelines.driver import attempt_at, resumed

ANSWER_S = TAKE_S + 20.0  # of one call for a job
MOST_JOBS = 100  # then another driver takes over: libraries leak memory


def wait_for_jobs() -> int:
    """Do the jobs of the queue until it says that this driver is not needed any more; returns the exit code.

    After an error that is not the job's own, the driver ends, and the queue judges the job by the exit code.
    """
    ray.init(address="auto", log_to_driver=False, ignore_reinit_error=True)
    jobs = serve.get_deployment_handle("jobs", APP)
    driver, _ = own_names()
    detectors = set(running(load()))  # when these change, there is a new queue, which takes no driver of the old one
    analyze.start_workers(load())
    for _ in range(MOST_JOBS):
        assignment: Any = True
        while assignment is True:
            assignment = jobs.take.remote(driver).result(timeout_s=ANSWER_S)
        if not assignment:
            return 0
        print(f"{HEADING} {assignment.attempt}", flush=True)
        if code := _do(assignment, detectors):
            return code
    return 0


def _do(assignment: Assignment, detectors: set[str]) -> int:
    """Do one job. Returns 0 if the driver can go on, the exit code otherwise."""
    try:
        settings = load()
        task = resumed(assignment.out, assignment.job, settings)
        served = {name: version for name, version in versions(settings).items() if name in detectors}
        attempt_at(task, assignment.attempt, served, settings)
    except SettingsError as error:  # the queue has been told
        print(f"raysift: {error}", file=sys.stderr, flush=True)
    except Exception as error:
        traceback.print_exc()
        is_fault_of_the_cluster = isinstance(error, RayError) and not isinstance(error, RayTaskError)
        return DIED_WITH_THE_CLUSTER if is_fault_of_the_cluster else NOT_FINISHED
    return 0
