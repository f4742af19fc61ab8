"""A stand-in for Ray's Jobs API, and a queue of jobs in front of it."""

import threading
from collections.abc import Callable
from pathlib import Path

from ray.job_submission import JobDetails, JobStatus, JobType

from cluster.settings import Scanning, Settings
from deployments.jobs.drivers import JobsRefusal
from deployments.jobs.queue import Jobs

URI = "s3://evidence/case 7"
ONE_ARGUMENT = 128 << 10  # bytes that Linux allows for one argument of a program, of which `sh -c` has one


class JobsApi:
    """A stand-in for Ray's Jobs API: drivers by submission id, with the command and metadata of each."""

    def __init__(self) -> None:
        self.drivers: dict[str, JobDetails] = {}
        self.stopped: list[str] = []
        self.logs: dict[str, str] = {}  # those that are not the default
        self.down = False
        self.nodes = {"head"}
        self.hanging = threading.Event()  # set while a call hangs
        self.answers: threading.Event | None = None  # calls hang until it is set

    def _check_up(self) -> None:
        if self.answers is not None and not self.answers.is_set():
            self.hanging.set()
            if not self.answers.wait(20):
                raise TimeoutError("the test has not released it")
        if self.down:
            raise ConnectionError("no server")

    def submit_job(self, *, entrypoint, submission_id, metadata):
        self._check_up()
        if submission_id in self.drivers:
            raise JobsRefusal(500, f"{submission_id} already exists")
        if max(map(len, (entrypoint, str(metadata)))) > ONE_ARGUMENT:
            raise JobsRefusal(500, "OSError: [Errno 7] Argument list too long")
        self.drivers[submission_id] = JobDetails(
            type=JobType.SUBMISSION,
            submission_id=submission_id,
            status=JobStatus.RUNNING,
            entrypoint=entrypoint,
            metadata=metadata,
            driver_node_id="head",
        )

    def get_job_info(self, job_id):
        self._check_up()
        if job_id not in self.drivers:
            raise JobsRefusal(404, f"Job {job_id} does not exist")
        return self.drivers[job_id]

    def get_job_logs(self, job_id):
        return self.logs.get(job_id, f"log of {self.get_job_info(job_id).submission_id}\n")

    def stop_job(self, job_id):
        self.get_job_info(job_id)
        self.stopped.append(job_id)
        self.ends(job_id, JobStatus.STOPPED)
        return True

    def ends(self, attempt, status, exit_code=None):
        """End a driver with this status and exit code."""
        self.drivers[attempt].status, self.drivers[attempt].driver_exit_code = status, exit_code

    @property
    def running(self):
        return [name for name, driver in self.drivers.items() if driver.status == JobStatus.RUNNING]


def queue(folder: Path, ray: JobsApi, ready: Callable[[], bool] = lambda: True, **scanning) -> Jobs:
    """A queue whose results go to a folder of its own, and which has no thread."""
    settings = Settings(state_dir=folder, scanning=Scanning(**scanning), results_uri=(folder / "found").as_uri())
    return Jobs(folder / "jobs.sqlite", settings, lambda url: ray, lambda: ray.nodes, every_s=None, ready=ready)


def submit(jobs: Jobs, **more) -> str:
    """Queue a scan of URI."""
    return jobs.submit([URI], jobs.settings.results, [], **more)


def state(jobs: Jobs, job: str) -> str:
    return jobs.one(job).state
