"""Which files and rows an erasure is about."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.access.identity import lies_under
from cluster.records import asset_id
from cluster.results import files as results_files
from cluster.results.attempts import without_number
from cluster.results.layout import COMPACTED
from cluster.storage import buckets
from cluster.storage.members import with_containers

Files = dict[str, str | None]  # URI -> URI of the file of the bucket that contains it, for members

_VECTORS = "detections.list.element.vectors.list.element.space"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be erased: all that one of these selects."""

    assets: frozenset[str] = frozenset()  # ids of files; those of a container with all of its members
    under: tuple[str, ...] = ()  # folders, buckets and containers, as normalized URIs
    jobs: frozenset[str] = frozenset()  # the rows that these jobs have stored
    before_s: float | None = None  # files that no job has analysed since then, in seconds since 1970

    def covers(self, uri: str, parent: str | None) -> bool:
        """Whether an asset or a folder of the selection is or contains this file."""
        places = list(with_containers(uri, parent))
        if any(lies_under(place, self.under) for place in places):
            return True
        return bool(self.assets) and any(asset_id(place) in self.assets for place in places)


@dataclass(slots=True)
class Selected:
    """What the results and the job folders have of it."""

    files: Files = field(default_factory=dict)  # that are erased everywhere
    others: Files = field(default_factory=dict)  # that lose the rows of some jobs, and keep those of others
    staying: Files = field(default_factory=dict)  # members that stay, of containers that lose the rows of some jobs
    rows: int = 0
    vectors: int = 0
    parquet: int = 0  # files of results that are rewritten


def select(wanted: Wanted, outs: Iterable[str], s3_endpoint: str | None = None) -> Selected:
    """Find the files, and count their rows. Some 100 bytes of memory for each file of the results.

    A container with a member that stays is none of them, as its address is a part of the member's; jobs' rows of it are
    erased.
    """
    selected, outs, members = Selected(), list(outs), Files()
    columns = _stored_files(wanted, outs, s3_endpoint).to_pydict()
    for uri, parent, last, rows, of_jobs in zip(*columns.values(), strict=True):
        old = wanted.before_s is not None and last / 1e6 < wanted.before_s
        if old or of_jobs == rows or wanted.covers(uri, parent):
            selected.files[uri] = parent
            continue
        if of_jobs:
            selected.others[uri] = parent
        if parent is not None:
            members[uri] = parent
    for job, table in ((job, table) for out in outs for job, _, table in job_tables(out, s3_endpoint)):
        for uri, parent in _named(table):
            if wanted.covers(uri, parent):
                selected.files[uri] = parent
            elif parent is not None and uri not in selected.files and job not in wanted.jobs:
                members[uri] = parent
    chosen = selected.files.keys() | selected.others.keys()
    staying = {uri: parent for uri, parent in members.items() if chosen & set(with_containers(uri, parent))}
    containers = leave(selected.files, staying)
    if wanted.jobs:
        selected.others |= containers
        selected.staying = staying
    measure(selected, wanted.jobs, outs, s3_endpoint)
    return selected


def leave(files: Files, staying: Files) -> Files:
    """Take files that stay, and the containers around them, out of `files`; returns those that were taken out."""
    places = {place for uri, parent in staying.items() for place in with_containers(uri, parent)}
    return {place: files.pop(place) for place in places & files.keys()}


def erased_rows(table: pa.Table, files: Container[str], jobs: Container[str]) -> pa.Array:
    """For each row of a table with `uri` and perhaps `job`, whether it is of one of these files or jobs."""
    of_files = [uri in files for uri in table["uri"].to_pylist()]
    if "job" not in table.column_names:
        return pa.array(of_files, pa.bool_())
    names = table["job"].to_pylist()
    return pa.array([erased or name in jobs for erased, name in zip(of_files, names, strict=True)], pa.bool_())


def job_parquet(out: str, s3_endpoint: str | None = None) -> Iterator[tuple[str, str, fs.FileSystem, str]]:
    """The Parquet files of ledgers, of lists of what was left out, and of what compactions have recorded.

    Job, folder in its folder, file system, path.
    """
    files, root = buckets.filesystem(f"{out}/_raysift/jobs", s3_endpoint)
    for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
        job, _, rest = str(info.path).removeprefix(root).strip("/").partition("/")
        inner = rest.partition("/")[0]
        if info.is_file and info.extension == "parquet" and inner in ("ledger", "uncut", "left_out", COMPACTED):
            yield job, inner, files, info.path


def job_tables(out: str, s3_endpoint: str | None = None) -> Iterator[tuple[str, str, pa.Table]]:
    """Job, folder in its folder, and the columns `uri` and, where there is one, `parent` of each of these files."""
    for job, inner, files, path in job_parquet(out, s3_endpoint):
        with files.open_input_file(path) as source:
            parquet = pq.ParquetFile(source)
            names = [name for name in ("uri", "parent") if name in parquet.schema_arrow.names]
            yield job, inner, parquet.read(names)


def _stored_files(wanted: Wanted, outs: list[str], s3_endpoint: str | None) -> pa.Table:
    """One row for each file: uri, parent, last analysis in microseconds, number of rows, and how many of the jobs."""
    jobs, tables = pa.array(sorted(wanted.jobs), pa.string()), []
    for out in outs:
        for table in results_files.scan(out, ["uri", "parent", "job", "sequence"], s3_endpoint):
            numbers = table["sequence"]  # of an attempt: microseconds since 1970, less for rows of version 0.1
            last = pc.if_else(pc.less(numbers, 0), pc.subtract(numbers, without_number(0.0)), numbers)
            of_jobs = pc.is_in(table["job"], jobs).cast(pa.int64())
            ones = pa.array([1] * len(table), pa.int64())
            tables.append(_grouped([table["uri"], table["parent"], last, ones, of_jobs]))
    empty = [pa.array([], kind) for kind in (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.int64())]
    return _grouped(pa.concat_tables(tables).columns if tables else empty)


def _grouped(columns: list[pa.ChunkedArray]) -> pa.Table:
    names = ["uri", "parent", "last", "rows", "of_jobs"]
    table = pa.table(columns, names=names)
    grouped = table.group_by(["uri", "parent"]).aggregate([("last", "max"), ("rows", "sum"), ("of_jobs", "sum")])
    return grouped.select(["uri", "parent", "last_max", "rows_sum", "of_jobs_sum"]).rename_columns(names)


def files_of_jobs(outs: Iterable[str], jobs: Iterable[str], s3_endpoint: str | None = None) -> Files:
    """The files that the folders of these jobs name."""
    jobs = set(jobs)
    tables = (table for out in outs for job, _, table in job_tables(out, s3_endpoint) if job in jobs) if jobs else ()
    return dict(pair for table in tables for pair in _named(table))


def _named(table: pa.Table) -> Iterator[tuple[str, str | None]]:
    """The files of a ledger or a list of what was left out, with their containers; they may have no results."""
    parents = table["parent"].to_pylist() if "parent" in table.column_names else [None] * len(table)
    return zip(table["uri"].to_pylist(), parents, strict=True)


def measure(selected: Selected, jobs: Container[str], outs: Iterable[str], s3_endpoint: str | None = None) -> None:
    """Count the rows of the chosen files and of these jobs, their vectors, and the files of results they are in."""
    selected.rows = selected.vectors = selected.parquet = 0
    if not (selected.files or selected.others):
        return
    for out in outs:
        for file in results_files.committed(out, s3_endpoint):
            table = results_files.read(file, ["uri", "job", _VECTORS], s3_endpoint)
            rows = table.filter(erased_rows(table, selected.files, jobs))
            vectors = pc.list_flatten(rows["detections"])
            selected.rows += len(rows)
            selected.parquet += bool(len(rows))
            selected.vectors += pc.sum(pc.list_value_length(pc.struct_field(vectors, "vectors"))).as_py() or 0
