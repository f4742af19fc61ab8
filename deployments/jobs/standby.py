"""Drivers that wait for jobs: one is kept ready, so that a job begins without the start and imports of a process.

A waiting driver calls `take` until it is given a job, does it, and calls `take` again. It works on one job at a time:
its death hurts no other job.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from cluster.records import ACTIVE
from deployments.jobs.drivers import Drivers
from deployments.jobs.store import JobStore

TAKE_S = 20.0  # a call of `take` without an assignment ends after that time, and is made again
SEEN_S = TAKE_S + 10  # a driver that has not called for so long is gone
START_S = 120.0  # a driver that has not called by then did not start
# a job that is over before then gives its driver back; a start beside it would take its CPU
LONG_JOB_S = 60.0
COMMAND = "python -m pipelines --standby"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The job that a waiting driver is to do: its name, the folder of its results, the name of the attempt."""

    job: str
    out: str
    attempt: str


class Standby:
    """The waiting drivers. `ready`: whether the cluster can do jobs; until then no driver is started to wait."""

    def __init__(self, store: JobStore, drivers: Drivers, ready: Callable[[], bool]) -> None:
        self._store, self._drivers, self._ready = store, drivers, ready
        self._changed = threading.Condition()
        # drivers that this queue has started: those of an earlier one may know other detectors
        self._started: set[str] = set()
        self._waiting: dict[str, float] = {}  # driver -> time.monotonic() of its last call
        self._starting: str | None = None  # the driver that has been started and has not called yet
        self._starting_until = self._busy_until = 0.0
        self._was_ready = False

    def take(self, driver: str) -> Assignment | bool:
        """The job of this driver. True: call again; False: it is not needed any more."""
        give_up = time.monotonic() + TAKE_S
        with self._changed:
            while True:
                if assignment := self._assigned(driver):
                    self._waiting.pop(driver, None)
                    return assignment
                if driver not in self._started or self._seen() - {driver}:
                    self._waiting.pop(driver, None)
                    return False
                self._waiting[driver] = time.monotonic()
                self._starting, self._starting_until = None, 0.0
                if not self._changed.wait(give_up - time.monotonic()):
                    return True

    def give(self, attempt: str) -> bool:
        """Assign an attempt at a job to a driver that waits or is starting; False if there is none.

        A driver that is starting is ready sooner than one that would be started now beside it.
        """
        with self._changed:
            drivers = sorted(self._seen())
            if not drivers and self._starting and time.monotonic() < self._starting_until:
                drivers = [self._starting]
            if not drivers:
                return False
            self._store.assign(attempt, drivers[0])
            self._waiting.pop(drivers[0], None)
            self._starting, self._starting_until = None, 0.0
            self._busy_until = time.monotonic() + LONG_JOB_S
            self._changed.notify_all()
            return True

    def keep(self) -> None:
        """Start a driver to wait if there is none. JobsDown if Ray's Jobs API does not answer."""
        with self._changed:
            now = time.monotonic()
            if self._seen() or now < max(self._starting_until, self._busy_until):
                return
            self._starting_until = now + START_S
        self._was_ready = self._was_ready or self._ready()
        if self._was_ready:
            driver = f"driver-{uuid4().hex[:8]}"
            self._started.add(driver)
            self._drivers.start(driver, COMMAND, {})
            with self._changed:
                self._starting = driver
        else:
            self._starting_until = now + 5

    def _seen(self) -> set[str]:
        oldest = time.monotonic() - SEEN_S
        return {driver for driver, at in self._waiting.items() if at > oldest}

    def _assigned(self, driver: str) -> Assignment | None:
        for job in self._store.of(*ACTIVE):
            if job.attempts and self._store.driver_of(job.attempts[-1]) == driver:
                return Assignment(job.job, job.out, job.attempts[-1])
        return None
