"""Load committed Parquet into the catalogue and the vector store while a job writes it. Both can be built anew."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pyarrow as pa

from cluster.errors import SettingsError
from cluster.results import embeddings, layout
from cluster.results import files as results_files
from cluster.vectors import Vectors, VectorsDown

log = logging.getLogger(__name__)

MOST_OF_TIME = 0.05  # of a job; loading takes 0.3 s of two cores, even of a few rows
LONGEST_PAUSE_S = 6.0  # the progress of a job is what has been loaded
GROUP_FILES = 64  # files of results whose vectors are written together, at most
GROUP_BYTES = 32_000_000  # and bytes of their rows


class Indexing:
    """Loads a folder of results, or follows a job that stores into it.

    `load` loads the new files of a folder into the catalogue and returns the number of rows. The two stores themselves
    know what is loaded already, so this may be killed and restarted at any time. A vector store that does not answer
    delays the vectors only.
    """

    def __init__(
        self,
        out: str,
        vectors: Vectors,
        load: Callable[[str], int],
        s3_endpoint: str | None = None,
        every_s: float = 2.0,
        job: str | None = None,
    ) -> None:
        self.out = out
        self.vectors = vectors
        self.load = load
        self.s3_endpoint = s3_endpoint
        self.every_s = every_s
        self._followed = out if job is None else layout.job_folder(out, job)
        self._done: set[str] = set()  # files that need not be looked at again
        self._refused: set[str] = set()  # files that hold no results, and were logged

    def once(self) -> int:
        """Load what is committed now. Returns the number of files whose vectors wait for the vector store."""
        return self._load_new(self.out)

    def _load_new(self, folder: str) -> int:
        self.load(folder)
        files = [f for f in results_files.committed(folder, self.s3_endpoint) if f not in self._done]
        try:
            self._done |= self.vectors.indexed(files) if files else set()
            coming = [f for f in files if f not in self._done]
            if taken := layout.taken_over(folder, coming, self.vectors.indexed, self.s3_endpoint):
                self.vectors.mark(sorted(taken))
                self._done |= taken
            for group in self._groups([f for f in files if f not in self._done]):
                self.vectors.upsert(pa.concat_tables(group.values()))
                self.vectors.mark(list(group))
                self._done |= set(group)
        except VectorsDown as error:
            waiting = sum(f not in self._done for f in files)
            log.warning("%d files of results are not searchable yet: %s", waiting, error)
            return waiting
        return 0

    def follow(self, stop: threading.Event) -> int:
        """Load what the job has committed until `stop` is set; then call `once`, and return or raise as it does.

        It pauses for `every_s`, or longer, so that at most MOST_OF_TIME is spent on it, up to LONGEST_PAUSE_S.
        """
        pause_s = self.every_s
        while not stop.wait(pause_s):
            began = time.monotonic()
            try:
                self._load_new(self._followed)
            except Exception:  # the job continues while the catalogue or the bucket is unavailable
                log.exception("results of %s could not be indexed; it is tried again", self.out)
            pause_s = min(LONGEST_PAUSE_S, max(self.every_s, (time.monotonic() - began) / MOST_OF_TIME))
        return self.once()

    def _groups(self, files: list[str]) -> Iterator[dict[str, pa.Table]]:
        """The rows of the files by URI, in groups that are written together. Files without results are logged once."""
        group: dict[str, pa.Table] = {}
        size = 0
        for file in files:
            try:
                group[file] = results_files.read(file, embeddings.COLUMNS, self.s3_endpoint)
            except SettingsError as error:
                if file not in self._refused:
                    log.error("not indexed: %s", error)
                    self._refused.add(file)
                continue
            size += group[file].nbytes
            if len(group) >= GROUP_FILES or size > GROUP_BYTES:
                yield group
                group, size = {}, 0
        if group:
            yield group
