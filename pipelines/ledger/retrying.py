"""What a job owes that does again what failed in another one: exactly those files, listed anew."""

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
from cluster.storage.roots import OutsideRoots, Roots
from pipelines.ledger.listing import LEDGER, UNCUT, unit_id

OF_THE_FILE = {"fetch", "decode"}  # steps whose failure leaves every detector without an answer
LOOK_UPS = 16  # of files at a time

Row = dict[str, Any]


@dataclass(slots=True)
class Again:
    """How much there is to do again."""

    units: int = 0  # in the ledger
    videos: int = 0  # to be looked into and cut: they have changed since
    gone: list[str] = field(default_factory=list)  # URIs of files that are there no more


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
    """Write what failed in job `of`, whose ledger is `old`, as the ledger of another job. Nothing is read but `roots`.

    After a fault of the file all detectors are asked that were asked then, else the one that failed.
    """
    failed = _failed(out, of, s3_endpoint)
    again = Again()
    changed: set[str] = set()  # videos that are to be cut anew: once, not once for each segment
    with Shards(ledger, LEDGER, s3_endpoint) as whole, Shards(uncut, UNCUT, s3_endpoint) as to_cut:
        for rows in _owed(old, failed, s3_endpoint):
            units, videos = [], []
            for row, item in _as_they_are(rows, s3_endpoint, roots):
                steps = failed[row["unit_id"]]
                asked = set(row["detectors"]) if steps & OF_THE_FILE else steps
                detectors = sorted(asked & wanted.keys())
                if item is None:
                    again.gone.append(row["uri"])
                elif item.etag == row["etag"]:
                    units += [row | {"detectors": detectors, "reason": "failed before"}] if detectors else []
                elif item.kind != "video":
                    units.append(_changed(row, item))
                elif item.uri not in changed:
                    changed.add(item.uri)
                    videos.append(_changed(row, item) | {"everything": row["detectors"], "answered": []})
            again.units, again.videos = again.units + len(units), again.videos + len(videos)
            whole.add(pa.Table.from_pylist(units, LEDGER))
            to_cut.add(pa.Table.from_pylist(videos, UNCUT))
    return again


def _failed(out: str, job: str, s3_endpoint: str | None) -> dict[int, set[str]]:
    """Of the units that failed in a job, at which steps."""
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
        # written by Ray after a cut, its columns may stand in another order
        table = pq.read_table(path, filesystem=files, columns=LEDGER.names).select(LEDGER.names)
        for batch in table.filter(pc.is_in(table["unit_id"], ids)).to_batches(max_chunksize=1000):
            yield batch.to_pylist()


def _as_they_are(
    rows: list[Row], s3_endpoint: str | None, roots: Roots | None
) -> Iterator[tuple[Row, MediaItem | None]]:
    """Each row with its file as it is now, None if it is gone."""

    def look(uri: str) -> MediaItem | None:
        try:
            return next(list_media(uri, s3_endpoint, roots), None)
        except (NothingThere, OutsideRoots):
            return None

    uris = list(dict.fromkeys(row["uri"] for row in rows))  # a film stands there once for each segment
    with ThreadPoolExecutor(LOOK_UPS) as pool:
        items = dict(zip(uris, pool.map(look, uris), strict=True))
    yield from ((row, items[row["uri"]]) for row in rows)


def _changed(row: Row, item: MediaItem) -> Row:
    """The unit of the whole file as it is now, for all that were asked then."""
    now = {"size": item.size, "etag": item.etag, "kind": item.kind, "sha256": None, "segment": None}
    return row | now | {"unit_id": unit_id(item.uri, item.etag), "reason": "changed"}
