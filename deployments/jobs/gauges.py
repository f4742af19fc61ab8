"""What the head measures at regular times: jobs by state, whether Chroma is up, and free space on its disks."""

import shutil
import tempfile

from cluster.metrics.declared import CHROMA_UP, DISK_FREE, DISK_SIZE, JOBS
from cluster.metrics.recording import record
from cluster.processes import port_open
from cluster.records import ACTIVE
from cluster.settings import Settings
from deployments.jobs.repeating import repeat
from deployments.jobs.store import JobStore

EVERY_S = 10.0  # Ray drops a gauge that is older than 20 s
STATES = ("waiting", *ACTIVE)


class HeadGauges:
    """Records the gauges of the head."""

    def __init__(self, store: JobStore, settings: Settings) -> None:
        self._store, self._settings = store, settings

    def follow(self, every_s: float = EVERY_S) -> None:
        """Record them in a thread, until the process ends."""
        repeat("gauges", self.record, every_s)

    def record(self) -> None:
        """Record all of them now."""
        counts = self._store.counts()
        for state in STATES:
            record(JOBS, counts.get(state, 0), state=state)
        record(CHROMA_UP, port_open(self._settings.chroma))
        for place, folder in (("state", self._settings.state_dir), ("temporary", tempfile.gettempdir())):
            usage = shutil.disk_usage(folder)
            record(DISK_FREE, usage.free, place=place)
            record(DISK_SIZE, usage.total, place=place)
