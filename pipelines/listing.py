"""What a job owes: folders and buckets listed lazily into a ledger of work units, minus what is stored already."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster import buckets
from cluster.errors import SettingsError
from cluster.records import Analyzer, MediaItem
from pipelines.storing import Stored

LEDGER = pa.schema(
    [
        ("unit_id", pa.int64()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("kind", pa.string()),
        ("detectors", pa.list_(pa.string())),  # those that have not answered for this content
    ]
)
UNITS_A_FILE = 100_000  # so that ten million are never in memory


@dataclass(frozen=True, slots=True)
class Listed:
    """How much a listing found."""

    units: int  # to be done
    skipped: int  # unchanged, and answered by every detector already


def write_ledger(
    uris: list[str], ledger: str, stored: Stored, models: Mapping[str, str], s3_endpoint: str | None
) -> Listed:
    """List all media under the URIs into Parquet files of the folder `ledger`.

    A unit asks only the detectors whose model has not answered for this content. SettingsError names a URI that
    does not exist or cannot be listed.
    """
    files, place = buckets.filesystem(ledger, s3_endpoint)
    files.create_dir(place, recursive=True)
    wanted = {Analyzer(name, model) for name, model in models.items()}
    units = skipped = shard = 0
    found = (item for uri in _outermost(uris) for item in buckets.list_media(uri, s3_endpoint))
    while items := list(islice(found, UNITS_A_FILE)):
        rows = [row for item in items if (row := _unit(item, wanted - stored.answered(item)))]
        if rows:
            try:
                pq.write_table(pa.Table.from_pylist(rows, LEDGER), f"{place}/{shard:06d}.parquet", filesystem=files)
            except OSError as error:
                raise SettingsError(f"{ledger} cannot be written: {error}. Check --out and its rights.") from None
        units += len(rows)
        skipped += len(items) - len(rows)
        shard += 1
    return Listed(units, skipped)


def _unit(item: MediaItem, missing: set[Analyzer]) -> dict[str, Any] | None:
    if not missing:
        return None
    digest = blake2b(f"{item.uri}\0{item.etag}".encode(), digest_size=8).digest()
    return {
        "unit_id": int.from_bytes(digest, signed=True),
        "uri": item.uri,
        "size": item.size,
        "etag": item.etag,
        "kind": item.kind,
        "detectors": sorted(analyzer.detector for analyzer in missing),
    }


def _outermost(uris: list[str]) -> Iterator[str]:
    """Without those that lie in another of them: their files would be units twice."""
    folders = sorted({buckets.normalize(uri) for uri in uris})
    last = None
    for folder in folders:
        if last is None or not f"{folder}/".startswith(f"{last}/"):
            yield folder
            last = folder
