"""`raysift compact`: gather a folder's rows in a few large files, without rows of which no answer counts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.results import compaction, layout
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.layout import File
from cluster.results.newest import DECIDING, staying

ROUND_FILES, ROUND_ROWS = 5000, 200_000  # that are replaced at a time, at most: the manifest names the files
MOST_HIDDEN = 100_000  # files that were replaced and not deleted yet: every reader reads their names
SMALL_BYTES, MOST_SMALL = compaction.FILE_BYTES // 4, 8  # from that number on, small files of earlier runs are joined
WORN = 0.7  # a file of an earlier run is written again if less than this share of its rows still counts

Mask = npt.NDArray[np.bool_]
Tell = Callable[[str], None]


@dataclass(slots=True)
class Compacted:
    """What a compaction did. All but `rows` and `dropped` are numbers of Parquet files."""

    replaced: int = 0
    written: int = 0
    rows: int = 0  # in the files that were replaced
    dropped: int = 0  # of these, superseded by newer ones and left out
    deleted: int = 0  # replaced by earlier compactions, or left by one that was interrupted
    busy: int = 0  # left alone, as they have rows of jobs that are not over
    later: int = 0  # left for later runs, as MOST_HIDDEN are waiting to be deleted


@dataclass(slots=True)
class _Source:
    """A file, which of its rows stay, and the jobs that have rows in it."""

    file: File
    uri: str
    stays: Mask
    jobs: set[str]

    @property
    def is_compacted(self) -> bool:
        return layout.run_of(self.file.name) is not None


def compact(
    out: str,
    busy: Callable[[str], bool],
    held: Callable[[str, str | None], bool] | None = None,
    s3_endpoint: str | None = None,
    tell: Tell = lambda message: None,
) -> Compacted:
    """Replace the files of jobs that are over by files of a bounded size in current/, with the newest answers.

    `busy`: whether a job, by name, may still write. `held`: whether a file (URI, container) is under a legal hold: all
    of its rows stay. Nobody else may compact or erase meanwhile. Needs about 70 bytes of memory for each row.
    SettingsError names a file that holds no results, or says that the folder was changed meanwhile.
    """
    done = Compacted(deleted=compaction.clean(out, s3_endpoint, busy=busy))
    files, manifest = layout.listed(out, s3_endpoint)
    tell(f"reading which answers are the newest in {len(files):,} files")
    sources = _sources(out, [file for file in files if manifest.counts(file.name)], held, s3_endpoint)
    known = set(layout.jobs(out, s3_endpoint))
    chosen = _chosen(sources, busy, done)
    fit = max(0, MOST_HIDDEN - len(manifest.hidden))
    done.later = len(chosen[fit:])
    for some in _rounds(chosen[:fit]):
        run = compaction.Run(out, s3_endpoint)
        read = results_files.ahead(some, lambda source: results_files.parts(source.uri, SCHEMA.names, s3_endpoint))
        for source, tables in zip(some, read, strict=True):
            _take(run, source, tables, known)
            done.rows += len(source.stays)
            done.dropped += int(np.count_nonzero(~source.stays))
        manifest = run.commit([source.file for source in some], manifest)
        done.replaced += len(some)
        done.written += run.files_written
        tell(f"{done.replaced:,} files are replaced by {done.written:,}")
    return done


def _sources(
    out: str, files: list[File], held: Callable[[str, str | None], bool] | None, s3_endpoint: str | None
) -> list[_Source]:
    uris = layout.uris(out, (file.name for file in files))
    jobs, kept = list[set[str]](), list[Mask]()

    def deciding() -> Iterator[pa.Table]:
        columns = [*DECIDING, "parent"]
        for table in results_files.ahead(uris, lambda uri: results_files.read(uri, columns, s3_endpoint)):
            jobs.append(set(pc.unique(table["job"]).to_pylist()))
            pairs = zip(table["uri"].to_pylist(), table["parent"].to_pylist(), strict=True) if held else ()
            kept.append(np.fromiter((held(*pair) for pair in pairs), bool) if held else np.zeros(len(table), bool))
            yield table

    stays = staying(deciding())
    masks = [newest | of_hold for newest, of_hold in zip(stays, kept, strict=True)]
    return [_Source(*parts) for parts in zip(files, uris, masks, jobs, strict=True)]


def _chosen(sources: list[_Source], busy: Callable[[str], bool], done: Compacted) -> list[_Source]:
    """The files to replace: those of jobs that are over, and those of earlier runs that are worn, or small and many."""
    states = {job: busy(job) for job in set().union(*(source.jobs for source in sources if not source.is_compacted))}
    tail = [source for source in sources if not source.is_compacted]
    free = [source for source in tail if not any(states[job] for job in source.jobs)]
    done.busy = len(tail) - len(free)
    earlier = [source for source in sources if source.is_compacted]
    worn = [source for source in earlier if np.count_nonzero(source.stays) < WORN * len(source.stays)]
    # only the last file of a run may be smaller than it could be
    last = {layout.run_of(source.file.name): source for source in sorted(earlier, key=lambda one: one.file.name)}
    names = {source.file.name for source in last.values()} - {source.file.name for source in worn}
    small = [source for source in earlier if source.file.name in names and source.file.size < SMALL_BYTES]
    return sorted([*free, *worn, *(small if len(small) >= MOST_SMALL else [])], key=lambda source: source.file.name)


def _rounds(sources: list[_Source]) -> Iterator[list[_Source]]:
    some, rows = list[_Source](), 0
    for source in sources:
        some.append(source)
        rows += len(source.stays)
        if len(some) >= ROUND_FILES or rows >= ROUND_ROWS:
            yield some
            some, rows = [], 0
    if some:
        yield some


def _take(run: compaction.Run, source: _Source, tables: Iterable[pa.Table], known: set[str]) -> None:
    """Write the rows of a file that stay, and record those of jobs that have a ledger, once."""
    begin = 0
    for table in tables:
        for job in source.jobs & known if not source.is_compacted else ():
            run.record(job, table.filter(pc.equal(table["job"], job)))
        run.keep(table.filter(pa.array(source.stays[begin : begin + len(table)])))
        begin += len(table)
