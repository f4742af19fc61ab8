"""Makes a job's results searchable while it runs, and interrupts a job of which too many files have failed."""

import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cluster.vectors import Vectors
from pipelines.calls import Calls
from pipelines.results.indexing import Indexing

log = logging.getLogger(__name__)


class LiveIndexing:
    """Loads the committed results of a job into the catalogue and the vector store.

    `max_failed`: more failed files than that end the job early. `hopeless`: it was interrupted for that reason.
    `message`: what is not searchable after the end of the job, a sentence or "".
    """

    def __init__(self, calls: Calls, vectors: Vectors, max_failed: float, s3_endpoint: str | None) -> None:
        self.hopeless = False
        self.message = ""
        self._calls, self._max_failed, self._endpoint = calls, max_failed, s3_endpoint
        self._over = threading.Event()
        self._indexing = Indexing(calls.out, vectors, self._load, s3_endpoint, job=calls.job)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Load results during the block and once more at its end. KeyboardInterrupt if the job has become hopeless."""
        with interruptible(), ThreadPoolExecutor(1) as thread:
            following = thread.submit(self._indexing.follow, self._over)
            try:
                yield
            finally:
                self._over.set()
        try:
            if missing := following.result():
                self.message = f"{missing} files of results are not searchable yet: the next scan tries again"
        except Exception:  # the results are stored: a job must not fail because they cannot be searched yet
            log.exception("the last results are not indexed")
            self.message = "the last results are not searchable yet: the next scan tries again"

    def _load(self, folder: str) -> int:
        rows = self._calls.load(folder, self._endpoint)
        failed = self._calls.failed() if rows else 0
        if failed > self._max_failed and not self._over.is_set():
            self.hopeless = True
            self._over.set()
            # the main thread waits in Ray Data, which only an interrupt ends
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return rows


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGINT raise KeyboardInterrupt, even if this process inherited from its shell to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
