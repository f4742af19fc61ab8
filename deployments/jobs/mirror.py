"""A copy of the list of jobs beside the results, a queue.json for each, from which a new head restores the list."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.records import ACTIVE, OVER
from cluster.results import layout
from cluster.settings import Settings
from cluster.storage import buckets
from deployments.jobs import folder
from deployments.jobs.job import Job, from_facts
from deployments.jobs.store import JobStore

log = logging.getLogger(__name__)

AGAIN_S = 60.0  # until a place that could not be read or written is tried again
READERS = 8  # files read at a time


class JobPages:
    """Keeps the queue.json of every job up to date. No caller waits for it, because the results may be unreachable."""

    def __init__(self, store: JobStore, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.settings, self.clock = store, settings, clock
        self._found = threading.Event()  # the jobs of earlier heads are in the list
        self._away: dict[str, float] = {}  # places that could not be written -> when they are tried again

    def follow(self, every_s: float, found_within_s: float) -> None:
        """Start a thread that does this; return when the jobs of earlier heads are found, or after `found_within_s`."""
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
            except Exception:  # one fault must not end the thread for good
                log.exception("the queue.json files of the jobs could not be written; it is tried again")
            time.sleep(pause_s)

    def write(self) -> None:
        """Write the files of the jobs that have changed. A place that fails is left alone for AGAIN_S."""
        for job in self.store.changed():
            if self._away.get(job.out, 0.0) > self.clock():
                continue
            facts = {"cluster": self.settings.ray.cluster, **asdict(job)}
            try:
                folder.write(job.out, job.job, "queue", facts, self.settings.s3_endpoint)
            except SettingsError as error:
                if job.out not in self._away:
                    log.warning("a new head would not find %s: %s", job.job, error)
                self._away[job.out] = self.clock() + AGAIN_S
            else:
                self._away.pop(job.out, None)
                self.store.paged(job)

    def find(self) -> None:
        """Add the jobs that have a queue.json beside the results. SettingsError if the results cannot be listed."""
        out = buckets.normalize(self.settings.results)
        with ThreadPoolExecutor(READERS) as readers:
            names = layout.jobs(out, self.settings.s3_endpoint)
            jobs = list(readers.map(lambda name: self._read(out, name), names))
        if found := self.store.found([job for job in jobs if job is not None]):
            log.info("%d jobs were found again in %s", found, out)

    def fetch(self, name: str) -> Job | None:
        """Add one job that another cluster has written since then, such as the cluster before an upgrade."""
        job = self._read(buckets.normalize(self.settings.results), name) if self.store.searched else None
        if job is not None:
            self.store.found([job])
        return job

    def _read(self, out: str, name: str) -> Job | None:
        try:
            facts = folder.read(out, name, "queue", self.settings.s3_endpoint)
            if facts is None:
                return None
            job = from_facts(facts)
            if (job.job, job.out) != (name, out) or (job.state in ACTIVE and not job.attempts):
                raise SettingsError(f"{folder.place(out, name)}/queue.json is not what a head has written there.")
        except (SettingsError, ValidationError) as error:
            log.error("a job is not found again: %s", error)
            return None
        return self._owned_by(str(facts.get("cluster")), job)

    def _owned_by(self, cluster: str, job: Job) -> Job:
        """The job as this cluster lists it. Another cluster's may still run there, and must not get a second driver."""
        if cluster == self.settings.ray.cluster or job.state in OVER:
            return job
        message = (
            f"it was queued in cluster {cluster}, where it may still run. Once that one is gone, "
            f"`raysift jobs resume {job.job}` goes on with it here."
        )
        return replace(job, state="failed", message=message, waits_for=(), ended_at=time.time())
