"""The export of the reviewers' decisions with their whole history, as one Parquet file."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.decisions.api_types import Decision, DecisionQuery
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.results import files

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("asset", "uri")),
        ("version", pa.int64()),  # the highest of a file is the present one
        *((name, pa.string()) for name in ("label", "note", "who", "subject", "at")),
        ("tags", pa.list_(pa.string())),
        ("models", pa.map_(pa.string(), pa.string())),  # detector -> model of what had been found then
        ("undo", pa.bool_()),  # it took back the decision before it
    ]
)
PART = 500  # decisions in memory at a time


def export(store: DecisionStore, to: str, s3_endpoint: str | None = None) -> int:
    """Write all decisions, the newest first, to a file in a folder or bucket; returns their number.

    SettingsError if it cannot be written.
    """
    count = 0
    sink, path = files.sink(to, s3_endpoint)
    try:
        with sink.open_output_stream(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for part in _parts(store):
                rows = [decision.model_dump() | {"models": list(decision.models.items())} for decision in part]
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                count += len(rows)
    except OSError as error:
        raise SettingsError(
            f"{to} cannot be written: {error}. Name a file in a folder or bucket that exists."
        ) from None
    return count


def _parts(store: DecisionStore) -> Iterator[tuple[Decision, ...]]:
    after: int | None = None
    while True:
        items, after = store.page(DecisionQuery(history=True, size=PART, after=after))
        yield tuple(items)
        if after is None:
            return
