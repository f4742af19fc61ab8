"""The list of jobs, written beside the results too, a page a job: where a new head finds it again."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.storage import buckets
from deployments.jobs import folder
from deployments.jobs.store import ACTIVE, OVER, Job, JobStore, from_facts

log = logging.getLogger(__name__)

AGAIN_S = 60.0  # after a place that could not be read or written
READERS = 8  # pages fetched at a time


class JobPages:
    """Keeps the pages of a list of jobs as the list is. Nobody waits for it: the results may be away."""

    def __init__(self, store: JobStore, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.settings, self.clock = store, settings, clock
        self._found = threading.Event()
        self._away: dict[str, float] = {}  # places that could not be written, until when they are left alone

    def follow(self, every_s: float, found_within_s: float) -> None:
        """From now on, in a thread. Returns once the jobs that others left are in the list, or it takes too long."""
        threading.Thread(target=self._follow, args=(every_s,), daemon=True, name="job pages").start()
        self._found.wait(found_within_s)

    def _follow(self, every_s: float) -> None:
        while True:
            pause_s = AGAIN_S
            try:
                if not self.store.searched:
                    self.find()
                self._found.set()
                self.write()
                pause_s = every_s
            except SettingsError as error:
                log.warning("%s It is tried again.", error)
            except Exception:  # a fault in one look must not end it for good
                log.exception("the pages of the jobs could not be kept; it is tried again")
            time.sleep(pause_s)

    def write(self) -> None:
        """Write the pages of the jobs that have changed. A place that is away is left alone for a while."""
        for job in self.store.changed():
            if self._away.get(job.out, 0.0) > self.clock():
                continue
            told = {"cluster": self.settings.ray.cluster, **asdict(job)}
            try:
                folder.write(job.out, job.job, "queue", told, self.settings.s3_endpoint)
            except SettingsError as error:
                if job.out not in self._away:
                    log.warning("a new head would not find %s: %s", job.job, error)
                self._away[job.out] = self.clock() + AGAIN_S
            else:
                self._away.pop(job.out, None)
                self.store.paged(job)

    def find(self) -> None:
        """Bring in the jobs whose pages lie among the results. SettingsError if these cannot be listed."""
        out = buckets.normalize(self.settings.results)
        with ThreadPoolExecutor(READERS) as readers:
            names = folder.names(out, self.settings.s3_endpoint)
            jobs = list(readers.map(lambda name: self._read(out, name), names))
        if found := self.store.found([job for job in jobs if job is not None]):
            log.info("%d jobs were found again in %s", found, out)

    def fetch(self, name: str) -> Job | None:
        """Bring in one job that another cluster has left since then, as the one before an upgrade does."""
        job = self._read(buckets.normalize(self.settings.results), name) if self.store.searched else None
        if job is not None:
            self.store.found([job])
        return job

    def _read(self, out: str, name: str) -> Job | None:
        try:
            told = folder.read(out, name, "queue", self.settings.s3_endpoint)
            if told is None:
                return None
            job = from_facts(told)
            if (job.job, job.out) != (name, out) or (job.state in ACTIVE and not job.attempts):
                raise SettingsError(f"{folder.place(out, name)}/queue.json is not what a head has written there.")
        except (SettingsError, ValidationError) as error:
            log.error("a job is not found again: %s", error)
            return None
        return self._left_to(str(told.get("cluster")), job)

    def _left_to(self, cluster: str, job: Job) -> Job:
        """Another cluster's job is that one's: it may run there, and two drivers must not do one job."""
        if cluster == self.settings.ray.cluster or job.state in OVER:
            return job
        message = (
            f"it was queued in cluster {cluster}, where it may still run. Once that one is gone, "
            f"`raysift jobs resume {job.job}` goes on with it here."
        )
        return replace(job, state="failed", message=message, waits_for=(), ended_at=time.time())
