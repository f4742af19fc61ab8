"""The ledger of a retry job: the units that failed in another job, with their files looked up again."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import NothingThere
from cluster.records import MediaItem, ModelVersion
from cluster.results import files as results_files
from cluster.results.rolling_writer import Shards
from cluster.storage import buckets
from cluster.storage.listing import list_media
from cluster.storage.members import outer_etag
from cluster.storage.roots import OutsideRoots, Roots
from pipelines.ledger.listing import LEDGER, UNCUT, unit_id

OF_THE_FILE = {"fetch", "decode"}  # failures at these steps leave every detector without an answer
LOOK_UPS = 16  # files that are looked up in parallel

Row = dict[str, Any]


@dataclass(slots=True)
class Again:
    """The size of a retry job."""

    units: int = 0  # in the ledger
    videos: int = 0  # and containers: changed since or never opened; their units are known when they are cut again
    gone: list[str] = field(default_factory=list)  # URIs of files that no longer exist


def write_ledger(
    out: str,
    of: str,
    old: str,
    ledger: str,
    uncut: str,
    wanted: Mapping[str, ModelVersion],
    s3_endpoint: str | None,
    roots: Roots | None = None,
) -> Again:
    """Write the units that failed in job `of`, whose ledger is `old`, as the ledger of another job.

    After a failed fetch or decode, all detectors of that unit run again, otherwise those that failed. Files outside
    `roots` count as gone.
    """
    failed = _failed(out, of, s3_endpoint)
    again = Again()
    # videos that are cut and containers that are opened again: once each, not once for each segment or member
    changed: set[str] = set()
    with Shards(ledger, LEDGER, s3_endpoint) as whole, Shards(uncut, UNCUT, s3_endpoint) as to_cut:
        for rows in _owed(old, failed, s3_endpoint):
            units, videos = [], []
            for row, item in _as_they_are(rows, s3_endpoint, roots):
                steps = failed[row["unit_id"]]
                failed_detectors = set(row["detectors"]) if steps & OF_THE_FILE else steps
                detectors = sorted(failed_detectors & wanted.keys())
                if item is None:
                    again.gone.append(row["uri"])
                elif _is_as_before(row, item) and not (row["kind"] == "container" and steps & OF_THE_FILE):
                    units += [row | {"detectors": detectors, "reason": "failed before"}] if detectors else []
                elif item.kind != "video" and row["kind"] != "container" and row["parent"] is None:
                    units.append(_changed(row, item))
                elif item.uri not in changed:
                    changed.add(item.uri)
                    videos.append(_changed(row, item) | {"everything": row["detectors"], "answered": []})
            again.units, again.videos = again.units + len(units), again.videos + len(videos)
            whole.add(pa.Table.from_pylist(units, LEDGER))
            to_cut.add(pa.Table.from_pylist(videos, UNCUT))
    return again


def _failed(out: str, job: str, s3_endpoint: str | None) -> dict[int, set[str]]:
    """Unit id -> the steps at which it failed in a job."""
    failed: dict[int, set[str]] = {}
    for rows in results_files.scan(out, ["unit_id", "errors"], s3_endpoint, job):
        for row in rows.filter(pc.greater(pc.list_value_length(rows["errors"]), 0)).to_pylist():
            failed.setdefault(row["unit_id"], set()).update(error["step"] for error in row["errors"])
    return failed


def _owed(ledger: str, units: Iterable[int], s3_endpoint: str | None) -> Iterator[list[Row]]:
    ids = pa.array(units, pa.int64())
    files, _ = buckets.filesystem(ledger, s3_endpoint)
    for file in results_files.committed(ledger, s3_endpoint):
        path = buckets.filesystem(file, s3_endpoint)[1]
        # files that Ray wrote after cutting may have another order of columns
        table = _with_all_columns(pq.read_table(path, filesystem=files))
        for batch in table.filter(pc.is_in(table["unit_id"], ids)).to_batches(max_chunksize=1000):
            yield batch.to_pylist()


def _as_they_are(
    rows: list[Row], s3_endpoint: str | None, roots: Roots | None
) -> Iterator[tuple[Row, MediaItem | None]]:
    """Each row with its file, or the container of it, as it is now; None if it is gone or lies outside the roots."""

    def look(uri: str) -> MediaItem | None:
        try:
            return next(list_media(uri, s3_endpoint, roots), None)
        except (NothingThere, OutsideRoots):
            return None

    # a video has one row for each segment, and members are looked for with their container
    uris = list(dict.fromkeys(row["parent"] or row["uri"] for row in rows))
    with ThreadPoolExecutor(LOOK_UPS) as pool:
        items = dict(zip(uris, pool.map(look, uris), strict=True))
    yield from ((row, items[row["parent"] or row["uri"]]) for row in rows)


def _with_all_columns(table: pa.Table) -> pa.Table:
    """The table with the columns of LEDGER in their order; those that older ledgers lack are null."""
    for column in LEDGER:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(len(table), column.type))
    return table.select(LEDGER.names)


def _is_as_before(row: Row, item: MediaItem) -> bool:
    """Whether a file, or the container of a member, still has the content that the row is of."""
    if row["parent"] is None:
        return item.etag == str(row["etag"])
    return item.etag == outer_etag(row["uri"], row["parent"], row["etag"])


def _changed(row: Row, item: MediaItem) -> Row:
    """The unit of the whole file, or of the container, for the same detectors."""
    now = {"uri": item.uri, "size": item.size, "etag": item.etag, "kind": item.kind}
    reason = "failed before" if _is_as_before(row, item) else "changed"
    none = dict.fromkeys(("sha256", "segment", "parent", "members", "failures", "contents"))
    return row | now | none | {"unit_id": unit_id(item.uri, item.etag), "reason": reason}
