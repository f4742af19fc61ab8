"""Committed Parquet, brought into the catalogue and the vector store while a job writes it. Both can be built anew."""

import logging
import threading
from collections.abc import Callable, Iterator

import pyarrow as pa

from cluster.errors import SettingsError
from cluster.results import embeddings
from cluster.results import files as results_files
from cluster.vectors import Vectors, VectorsDown

log = logging.getLogger(__name__)

FILES_AT_ONCE = 64
GROUP_BYTES = 32_000_000  # of rows whose vectors are brought in together


class Indexing:
    """Follows a results folder. `load` brings a folder's new files into the catalogue and gives the number of rows.

    What is in already is asked of the two stores themselves, so it may be stopped, killed and started again at any
    time; a vector store that is away delays its own part only.
    """

    def __init__(
        self,
        out: str,
        vectors: Vectors,
        load: Callable[[str], int],
        s3_endpoint: str | None = None,
        every_s: float = 2.0,
    ) -> None:
        self.out = out
        self.vectors = vectors
        self.load = load
        self.s3_endpoint = s3_endpoint
        self.every_s = every_s
        self._done: set[str] = set()  # files that need not be looked at again
        self._refused: set[str] = set()  # files that hold no results, and were told of

    def once(self) -> int:
        """Bring in what is committed now; the number of files whose vectors have to wait for the vector store."""
        self.load(self.out)
        files = [f for f in results_files.committed(self.out, self.s3_endpoint) if f not in self._done]
        try:
            self._done |= self.vectors.indexed(files) if files else set()
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
        """Do it again and again until told to stop, and then one last time; as `once`. Only the last time raises."""
        while not stop.wait(self.every_s):
            try:
                self.once()
            except Exception:  # whatever keeps the catalogue or the bucket away now, the job goes on
                log.exception("results of %s could not be indexed; it is tried again", self.out)
        return self.once()

    def _groups(self, files: list[str]) -> Iterator[dict[str, pa.Table]]:
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
            if len(group) >= FILES_AT_ONCE or size > GROUP_BYTES:
                yield group
                group, size = {}, 0
        if group:
            yield group
