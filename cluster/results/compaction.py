"""One run of a compaction: rows are written into new files, which replace others by one write of the manifest.

A crash before that write leaves files that do not count, a crash after it files that do not count any more; the next
run deletes both. cluster/results/layout.py says how readers tell them apart.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.results import layout
from cluster.results.codec import SCHEMA
from cluster.results.layout import CURRENT, RECORD, File, Manifest, Replaced
from cluster.storage import buckets

FILE_BYTES = 64_000_000  # of a new file, before compression; readers of whole files hold a few of them in memory
FILE_ROWS = 100_000
RECORDED_ROWS = 50_000  # of jobs, kept in memory until they are written
GROUP_ROWS = 5_000
DELETERS = 16  # files deleted at a time


class Run:
    """Writes the files of a run. None of them counts before `commit`. SettingsError if the folder cannot be written."""

    def __init__(self, out: str, s3_endpoint: str | None = None) -> None:
        self.name, self.files_written = layout.new_run(), 0
        self._out, self._s3_endpoint = out, s3_endpoint
        self._files, self._root = results_files.sink(out, s3_endpoint)
        self._rows: list[pa.Table] = []
        self._bytes = 0  # of these
        self._records: dict[str, list[pa.Table]] = {}
        self._recorded = self._record_files = 0
        with _writing(out):
            self._files.create_dir(f"{self._root}/{CURRENT}", recursive=True)
            if layout.read_manifest(out, s3_endpoint) is None:  # a folder with files of a run and without it is damaged
                _write_manifest(out, Manifest(), s3_endpoint)
            self._files.open_output_stream(f"{self._root}/{_mark(self.name)}").close()

    def keep(self, rows: pa.Table) -> None:
        """Add rows of SCHEMA, also as earlier versions have stored them."""
        self._rows.append(rows.cast(SCHEMA))
        self._bytes += self._rows[-1].nbytes
        if self._bytes >= FILE_BYTES or sum(map(len, self._rows)) >= FILE_ROWS:
            self._write_rows()

    def record(self, job: str, rows: pa.Table) -> None:
        """Record rows of a job: what its verification needs to know of them, those that are not kept too."""
        self._records.setdefault(job, []).append(rows.select(RECORD.names).cast(RECORD))
        self._recorded += len(rows)
        if self._recorded >= RECORDED_ROWS:
            self._write_records()

    def commit(self, replaced: Iterable[File], manifest: Manifest) -> Manifest:
        """Make the files of this run count in place of those. Returns the new manifest.

        SettingsError, and nothing has changed, if somebody has changed these files or the manifest meanwhile.
        """
        self._write_rows()
        self._write_records()
        files, now = layout.listed(self._out, self._s3_endpoint)
        there, replaced = set(files), list(replaced)
        ours = sum(layout.run_of(file.name) == self.name for file in files)
        if now != manifest or not there.issuperset(replaced) or ours != self.files_written:
            raise SettingsError(
                f"{self._out} was changed while it was compacted: what was being replaced is as before. Run it again."
            )
        names = sorted(file.name for file in replaced)
        new = Manifest(
            runs=[*manifest.runs, self.name],
            replaced={**manifest.replaced, self.name: Replaced(at=time.time(), files=names)},
        )
        _write_manifest(self._out, new, self._s3_endpoint)
        _delete(self._files, f"{self._root}/{_mark(self.name)}")
        return new

    def _write_rows(self) -> None:
        table = pa.concat_tables([SCHEMA.empty_table(), *self._rows])
        self._rows.clear()
        self._bytes = 0
        table = table.sort_by([("uri", "ascending"), ("segment", "ascending")])  # the rows of a film lie together
        files = round(table.nbytes / FILE_BYTES) or 1
        step = -(-len(table) // files) or 1
        for begin in range(0, len(table), step):
            self._write(table.slice(begin, step), f"{CURRENT}/{self.name}-{self.files_written:05}.parquet")
            self.files_written += 1

    def _write_records(self) -> None:
        for job, tables in self._records.items():
            folder = layout.record_folder(job)
            with _writing(self._out):
                self._files.create_dir(f"{self._root}/{folder}", recursive=True)
            self._write(pa.concat_tables(tables), f"{folder}/{self.name}-{self._record_files:05}.parquet")
            self._record_files += 1
        self._records.clear()
        self._recorded = 0

    def _write(self, table: pa.Table, name: str) -> None:
        with _writing(self._out):
            pq.write_table(table, f"{self._root}/{name}", filesystem=self._files, row_group_size=GROUP_ROWS)


def clean(
    out: str,
    s3_endpoint: str | None = None,
    grace_s: float = layout.GRACE_S,
    busy: Callable[[str], bool] = lambda job: True,
) -> int:
    """Delete what compactions have replaced `grace_s` ago, and what interrupted ones have left. Returns how many files.

    A compaction that runs meanwhile stops without a change. With a grace of 0, a reader that has listed the folder
    before may miss files. The empty folders of jobs that are not `busy` are deleted too.
    """
    manifest = layout.read_manifest(out, s3_endpoint)
    if manifest is None:
        return 0
    files, root = buckets.filesystem(out, s3_endpoint)
    before_s = time.time() - grace_s
    deleted = _delete_abandoned(out, manifest, before_s, s3_endpoint)
    over = {run for run, replaced in manifest.replaced.items() if replaced.at <= before_s}
    names = [name for run in over for name in manifest.replaced[run].files]
    with ThreadPoolExecutor(DELETERS) as pool:
        deleted += sum(pool.map(lambda name: _delete(files, f"{root}/{name}"), names))
    for folder in {name.rpartition("/")[0] for name in names}:
        if folder.startswith("job=") and not busy(folder.removeprefix("job=")):
            _delete_empty(files, f"{root}/{folder}")
    if over and (manifest := layout.read_manifest(out, s3_endpoint)):  # again: a compaction elsewhere may have ended
        left = {run: replaced for run, replaced in manifest.replaced.items() if run not in over}
        _write_manifest(out, Manifest(runs=manifest.runs, replaced=left), s3_endpoint)
    return deleted


def _delete_abandoned(out: str, manifest: Manifest, before_s: float, s3_endpoint: str | None) -> int:
    """Delete the files of runs that have begun before then and were not committed."""
    files, root = buckets.filesystem(out, s3_endpoint)
    infos = files.get_file_info(fs.FileSelector(f"{root}/{CURRENT}", allow_not_found=True))
    marks = [info for info in infos if info.base_name.startswith(_MARK) and (info.mtime_ns or 0) / 1e9 <= before_s]
    # by their marks, not all that the manifest does not name: somebody may have restored an old one
    lost = {info.base_name.removeprefix(_MARK) for info in marks} - set(manifest.runs)
    deleted = 0
    if lost:
        folders = [CURRENT, *map(layout.record_folder, layout.jobs(out, s3_endpoint))]
        for folder in folders:
            for info in files.get_file_info(fs.FileSelector(f"{root}/{folder}", allow_not_found=True)):
                if layout.run_of(f"{folder}/{info.base_name}") in lost:
                    deleted += _delete(files, info.path)
    for info in marks:  # last: until then a crash would leave files that nobody knows of
        _delete(files, info.path)
    return deleted


_MARK = "_begun-"


def _mark(run: str) -> str:
    return f"{CURRENT}/{_MARK}{run}"


def _delete(files: fs.FileSystem, path: str) -> int:
    try:
        files.delete_file(path)
    except FileNotFoundError:
        return 0
    return 1


def _delete_empty(files: fs.FileSystem, path: str) -> None:
    """Delete the folder of a job that is over, if nothing is left in it."""
    if files.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        return
    if isinstance(files, fs.LocalFileSystem):
        with suppress(OSError):  # something has come into it
            Path(path).rmdir()
    else:  # the object that stands for it in a bucket
        files.delete_dir(path)


def _write_manifest(out: str, manifest: Manifest, s3_endpoint: str | None) -> None:
    files, root = results_files.sink(out, s3_endpoint)
    with _writing(out), files.open_output_stream(f"{root}/{layout.MANIFEST}") as file:
        file.write(manifest.model_dump_json().encode())


@contextmanager
def _writing(out: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{out} cannot be written: {error}. Check its rights, and the space that is left."
        ) from None
