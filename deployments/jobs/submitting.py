"""Queueing of jobs: new ones, stopped ones again, and the failed files of those that are over."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from cluster.errors import SettingsError
from cluster.records import ACTIVE, OVER, Priority
from deployments.jobs.callers import NOBODY, Caller, Claim, TooManyJobs
from deployments.jobs.drivers import Drivers
from deployments.jobs.job import Job, new_name
from deployments.jobs.store import JobStore

log = logging.getLogger(__name__)


class Submissions:
    """The part of the queue that adds jobs to it; the queue that inherits it has the store and the drivers.

    `caller`: who asks; NOBODY: a process of the cluster. A request that the caller has made before, by its key, changes
    nothing: the answer is the same job. TooManyJobs if the caller has its share of jobs.
    """

    store: JobStore
    drivers: Drivers
    _due: threading.Event

    def submit(
        self,
        uris: list[str],
        out: str,
        detectors: list[str],
        priority: Priority = "normal",
        retry_of: str | None = None,
        proof: str = "",
        exclude: Sequence[str] = (),
        within: tuple[str, ...] | None = None,
        caller: Caller = NOBODY,
        name: str | None = None,
    ) -> str:
        """Queue a scan and return the name of the job. It runs whether or not anybody follows it.

        `name`: of the job, made by new_name; None: one is made here.
        """
        name = name or new_name()
        options = tuple(detectors), priority, retry_of, proof, tuple(exclude), within, caller.owner
        with self.store.changing():
            if before := self._answered(caller):
                return before
            self._check_share(caller)
            self.store.put(Job(name, tuple(uris), out, time.time(), *options), caller)
        self._due.set()
        log.info("%s is queued", name)  # with the id of the request, which leads from there to the job
        return name

    def resume(self, job: str, caller: Caller = NOBODY) -> Job:
        """Queue a failed or cancelled job again; it continues with the units that are not done."""
        while True:
            known = self._known(job)
            if self._answered(caller):
                return known
            if known.state == "finished":
                raise SettingsError(f"{job} is finished: `raysift jobs retry-failed {job}` does failed files again.")
            if known.state == "waiting":
                raise SettingsError(f"{job} waits for its turn already.")
            self._check_that_none_runs(known)
            with self.store.changing():
                if self._known(job) == known:
                    self._check_share(caller)
                    resumed = replace(
                        known,
                        state="waiting",
                        message="",
                        waits_for=(),
                        resumes=0,
                        ended_at=None,
                        owner=caller.owner or known.owner,
                    )
                    self.store.put(resumed, caller)
                    return resumed

    def retry(self, job: str, caller: Caller = NOBODY) -> str:
        """Queue a new job over the files that failed in this one, and return the name of the new job."""
        known = self._known(job)
        if known.state not in OVER:
            raise SettingsError(f"{job} is not over yet. Wait for its end, or cancel it first.")
        options = [*known.detectors], known.priority, job, known.proof, known.exclude, known.within
        return self.submit([*known.uris], known.out, *options, caller)

    def claim(self, caller: Caller) -> Claim:
        """Begin to answer a request with a key, unless it was answered before or is being answered."""
        return self.store.claim(caller)

    def release(self, caller: Caller) -> None:
        """Give up the claim of a request that was refused."""
        self.store.release(caller)

    def remember(self, caller: Caller, job: str | None) -> None:
        """Store the answer to a request for which there was nothing to do."""
        self.store.remember(caller, job)

    def _answered(self, caller: Caller) -> str | None:
        """The job that the caller's request made before; None if there is none. SettingsError for another's key."""
        if not caller.key:
            return None
        known = self.store.answered(caller)
        if known.state == "another":
            raise SettingsError("another request with this Idempotency-Key came in between.")
        return known.job

    def _check_share(self, caller: Caller) -> None:
        if caller.most_jobs is None:
            return
        count = self.store.count_of(caller.owner)
        if count >= caller.most_jobs:
            raise TooManyJobs(
                f"{count} jobs of yours wait or run, and limits.jobs is {caller.most_jobs}: wait until one is over, or "
                "cancel one"
            )

    def _check_that_none_runs(self, job: Job) -> None:
        """SettingsError if a driver of the job runs. It calls Ray, so it is called without the lock."""
        if job.state in ACTIVE or (job.attempts and self.drivers.is_running(job.attempts[-1])):
            stopping = "is still stopping; try again" if job.state in OVER else "still runs; cancel it first"
            raise SettingsError(f"{job.job} {stopping}: `raysift jobs show {job.job}`.")

    def _known(self, job: str) -> Job:
        known = self.store.get(job)
        if known is None:
            raise SettingsError(f"there is no job {job!r}. See `raysift jobs list`.")
        return known
