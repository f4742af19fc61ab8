"""What the end of a driver means for its job: it has finished or failed, or is started again."""

import logging
import time

from ray.job_submission import JobDetails, JobStatus

from deployments.jobs.drivers import FINAL, FINISHED, NOT_FINISHED
from deployments.jobs.job import Job
from deployments.jobs.store import JobStore

log = logging.getLogger(__name__)

STEADY_S = 600  # a driver that lived this long did not die of what it found at its start


class Endings:
    """Changes jobs in the store whose drivers have ended. `resumes`: consecutive times that a job is started again.

    The caller holds the lock of the store.
    """

    def __init__(self, store: JobStore, resumes: int) -> None:
        self._store, self._resumes = store, resumes

    def judge(self, job: Job, details: JobDetails | None) -> None:
        """Change an active job whose driver has ended. `details`: what Ray knows of the driver, None: nothing."""
        if details is None:
            self._restart(job, "Ray knows nothing of it any more")
        elif details.status == JobStatus.SUCCEEDED and self._store.driver_of(job.attempts[-1]) == job.attempts[-1]:
            self.ended(job, FINISHED, job.message)
        elif details.status == JobStatus.SUCCEEDED:
            self._restart(job, "it ended without a report")
        elif details.status == JobStatus.STOPPED:
            message = "it was stopped through Ray"
            self._store.change(job.job, state="cancelled", message=message, waits_for=(), ended_at=time.time())
        elif details.status == JobStatus.FAILED:
            if details.driver_exit_code in FINAL:
                self.ended(job, details.driver_exit_code, job.message)
            else:
                self._restart(job, f"exit code {details.driver_exit_code}" if details.driver_exit_code else "node lost")

    def ended(self, job: Job, exit_code: int, message: str) -> None:
        """Note that a driver has ended with one of the exit codes FINAL."""
        if exit_code == NOT_FINISHED:
            state, message = "failed", message or f"its driver failed; see `raysift jobs logs {job.job}`"
        else:
            state = "finished"
        self._store.change(job.job, state=state, message=message, waits_for=(), ended_at=time.time())

    def _restart(self, job: Job, how: str) -> None:
        # a job of several days on machines that come and go must not fail because it lost some of them
        steady = job.units is not None and job.attempt_at and time.time() - job.attempt_at > STEADY_S
        resumes = 0 if steady else job.resumes
        if resumes >= self._resumes:
            message = f"its driver died {resumes + 1} times, at last: {how}. `raysift jobs resume {job.job}` goes on."
            self._store.change(job.job, state="failed", message=message, waits_for=(), ended_at=time.time())
            return
        message = f"its driver died ({how}); started again, {resumes + 1} of {self._resumes} times"
        log.warning("%s: %s", job.job, message)
        self._store.change(job.job, state="waiting", message=message, waits_for=(), resumes=resumes + 1)
