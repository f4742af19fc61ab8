"""The queue of jobs: which wait, run or are restarted. Their drivers run through Ray's Jobs API.

No call leaves this process while the store is locked: a decision that depends on an external answer is checked against
the job's state at that time. So a hanging Jobs API delays only callers that need it.
"""

import asyncio
import logging
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.errors import SettingsError
from cluster.logs import setup
from cluster.metrics.declared import LEFT_OUT
from cluster.metrics.recording import record
from cluster.records import ACTIVE, OVER, PRIORITIES, JobState
from cluster.settings import Settings
from deployments import ray_metrics
from deployments.jobs import job as job_file
from deployments.jobs.drivers import FINAL, Client, Drivers, JobsClient, JobsDown, alive
from deployments.jobs.endings import Endings
from deployments.jobs.gauges import HeadGauges
from deployments.jobs.job import Job
from deployments.jobs.mirror import JobPages
from deployments.jobs.standby import Assignment, Standby
from deployments.jobs.store import JobStore
from deployments.jobs.submitting import Submissions
from deployments.jobs.webhooks.announcing import Announcer

log = logging.getLogger(__name__)

FIND_S = 10.0  # the start waits for the jobs of an earlier head to be found, at most this long


class Jobs(Submissions):
    """Owns the list of jobs and their queue: one process may have it. SettingsError says what may not be done.

    `every_s`: how often threads work; None: none do. `ready`: as of Standby.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        client: Callable[[str], Client] = JobsClient,
        nodes: Callable[[], set[str]] = alive,
        every_s: float | None = 1.0,
        ready: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.store = JobStore(path)
        self.pages = JobPages(self.store, settings)
        self.drivers = Drivers(settings.ray.dashboard_url, client, nodes, self.store.driver_of)
        self.standby = Standby(self.store, self.drivers, ready)
        self.endings = Endings(self.store, settings.scanning.resumes)
        self.announcer = Announcer(self.store, settings)
        self._due = threading.Event()  # set when a job may have become due
        if every_s is not None:
            ray_metrics.report()
            setup.join_serve()
            HeadGauges(self.store, settings).follow()
            self.pages.follow(every_s, FIND_S)
            self.announcer.follow(every_s)
            threading.Thread(target=self._look_after, args=(every_s,), daemon=True, name="jobs").start()

    # ---- called by the API

    def one(self, job: str) -> Job | None:
        """The job of that name, also one that another cluster has left beside the results; None if there is none."""
        return self.store.get(job) or self.pages.fetch(job)

    async def followed(self, job: str, wait_s: float) -> Job | None:
        """As `one`, once the job is over, or after `wait_s`."""
        return await self.store.followed(job, wait_s) or await asyncio.to_thread(self.one, job)

    def has_out(self, out: str) -> bool:
        """Whether a job of this cluster stores its results in that folder."""
        return self.store.has_out(out)

    def newest(self, limit: int, within: Sequence[str] | None = None) -> list[Job]:
        """The jobs that were submitted last, newest first. `within`: only those over files under these."""
        return self.store.newest(limit, within)

    def cancel(self, job: str) -> Job:
        """Remove a job from the queue or stop its driver. Its stored results stay; `resume` continues it.

        JobsDown if its driver cannot be stopped: the job is unchanged then.
        """
        while True:
            known = self._known(job)
            if known.state in OVER:
                raise SettingsError(f"{job} is {known.state}: there is nothing to cancel.")
            if known.state in ACTIVE:
                self.drivers.stop(known.attempts[-1])
            with self.store.changing():
                current = self._known(job)
                if current.state in ("finished", "failed"):  # its driver ended by itself meanwhile
                    raise SettingsError(f"{job} is {current.state}: there is nothing to cancel.")
                if current.attempts == known.attempts:
                    over = {"state": "cancelled", "message": "it was cancelled", "ended_at": time.time()}
                    return self._changed(job, waits_for=(), **over)

    def logs(self, job: str) -> str:
        """What the drivers of a job have written, one after the other."""
        return "".join(f"==> {attempt}\n{self.drivers.log(attempt)}" for attempt in self._known(job).attempts)

    def hand_over(self, task: Job) -> None:
        """Queue a job that a process of `ray job submit`, its first attempt, hands over; a stopped one continues.

        SettingsError if a job of that name has other URIs or results.
        """
        with self.store.changing():
            known = self.store.get(task.job)
            if known is None:
                self.store.put(task)
            elif (known.uris, known.out, known.retry_of) != (task.uris, task.out, task.retry_of):
                raise SettingsError(f"there is a job {task.job} over other files. Give this one another name by --job.")
            elif known.state in ("failed", "cancelled"):
                proof = task.proof or known.proof
                self.store.change(task.job, state="waiting", message="", resumes=0, ended_at=None, proof=proof)
        self._due.set()

    # ---- called by drivers

    def take(self, driver: str) -> Assignment | bool:
        """As `Standby.take`."""
        return self.standby.take(driver)

    def begin(self, job: str, attempt: str, uris: list[str], out: str, detectors: list[str], proof: str = "") -> str:
        """Register a driver; returns the proof of its job. Its own `proof` counts if the operator started it.

        SettingsError if another driver works on that job, or the job is over.
        """
        while True:
            before = self.store.get(job)
            known = before or Job(job, tuple(uris), out, time.time(), tuple(detectors))
            if attempt not in known.attempts:  # it was not started from here
                self._check_that_none_runs(known)
                proof = proof if (*known.uris,) == (*uris,) and proof else known.proof
                known = replace(known, attempts=(*known.attempts, attempt), message="", proof=proof)
            elif known.state not in ACTIVE or known.attempts[-1] != attempt:
                raise SettingsError(f"{job} is {known.state} without this driver, which does nothing.")
            began = known.started_at or time.time()
            with self.store.changing():
                if self.store.get(job) == before:
                    self.store.put(replace(known, state=_phase(known), waits_for=(), started_at=began, ended_at=None))
                    return known.proof

    def note(self, job: str, **facts: Any) -> None:
        """Store what a driver reports: units, skipped, message. A job whose units are known is running."""
        with self.store.changing():
            known = self.store.get(job)
            if known is not None and known.state == "listing" and facts.get("units") is not None:
                facts["state"] = "running"
                record(LEFT_OUT, facts.get("left_out_files", 0))
            self.store.change(job, **facts)

    def waits(self, job: str, detector: str, away: bool) -> None:
        """Note that a detector does not answer, which blocks the job, or (`away` is False) answers again."""
        with self.store.changing():
            known = self.store.get(job)
            if known is None or known.state not in ("running", "blocked"):
                return
            waits_for = tuple(sorted({*known.waits_for, detector} if away else {*known.waits_for} - {detector}))
            self.store.change(job, waits_for=waits_for, state="blocked" if waits_for else "running")

    def over(self, job: str, attempt: str, exit_code: int, message: str = "") -> None:
        """Note that a driver ends with this exit code; ignored if the driver was replaced by another."""
        with self.store.changing():
            known = self.store.get(job)
            if known is None or known.state not in ACTIVE or known.attempts[-1] != attempt:
                return
            if exit_code in FINAL:
                self.endings.ended(known, exit_code, message)
                self._due.set()

    # ---- called by the thread

    def _look_after(self, every_s: float) -> None:
        while True:
            self._due.wait(every_s)
            self._due.clear()
            try:
                self.tick()
                self.standby.keep()
            except JobsDown as error:
                log.warning("%s", error)
            except Exception:  # one fault must not end the thread for good
                log.exception("the queue of jobs could not be brought up to date; it is tried again")

    def tick(self) -> None:
        """Find drivers that have ended without reporting it, and start the jobs whose turn it is."""
        for job in self.store.of(*ACTIVE):
            details = self.drivers.details(job.attempts[-1])
            with self.store.changing():
                if self.store.get(job.job) == job:  # its driver has reported nothing meanwhile
                    self.endings.judge(job, details)
        waiting = sorted(self.store.of("waiting"), key=lambda job: PRIORITIES.index(job.priority))
        for job in waiting:
            if self._has_room(job):
                self._start(job)

    def _has_room(self, job: Job) -> bool:
        before = PRIORITIES[: PRIORITIES.index(job.priority) + 1]
        return sum(other.priority in before for other in self.store.of(*ACTIVE)) < self.settings.scanning.max_jobs

    def _start(self, job: Job) -> None:
        with self.store.changing():
            if self.store.get(job.job) != job:
                return
            number = len(job.attempts) + 1
            attempt = job.job if number == 1 else f"{job.job}-{number}"
            now = time.time()
            started = replace(
                job,
                state=_phase(job),
                attempts=(*job.attempts, attempt),
                started_at=job.started_at or now,
                attempt_at=now,
            )
            self.store.put(started)  # before the driver begins, so that it is known, and can be cancelled
        try:
            self._write_task(job)
            if not self.standby.give(attempt):
                # what is to do, and what is done already, lies in the job's folder
                command = shlex.join(["python", "-m", "pipelines", "--job", job.job, "--out", job.out])
                self.drivers.start(attempt, command, {"job": job.job, "out": job.out})
        except SettingsError as error:
            self._undo_start(started, replace(job, state="failed", message=str(error), ended_at=time.time()))
        except JobsDown:
            self._undo_start(started, job)
            raise
        if self._known(job.job).state == "cancelled":
            self.drivers.stop(attempt)

    def _write_task(self, job: Job) -> None:
        """Write the driver's task to the job's folder, unless an earlier driver has left a more complete one."""
        endpoint = self.settings.s3_endpoint
        if job_file.read(job.out, job.job, endpoint) is None:  # then its ledger is gone as well
            blank = replace(job, units=None, skipped=0, files_listed=0, left_out_files=0, left_out="")
            job_file.write(blank, endpoint)

    def _undo_start(self, started: Job, job: Job) -> None:
        with self.store.changing():
            if self.store.get(job.job) == started:  # it was not cancelled meanwhile, and no driver has begun
                self.store.put(job)

    def _changed(self, job: str, **facts: Any) -> Job:
        self.store.change(job, **facts)
        return self._known(job)


def _phase(job: Job) -> JobState:
    return "listing" if job.units is None else "running"
