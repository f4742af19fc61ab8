"""The computing time of detectors by kind of file: what their answers took, and so what such files cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.results import files as results_files
from cluster.settings import Prices

COLUMNS = ("size", "kind", "duration_s", "segments", "usage")  # that `sums` needs
PICTURES, HOURS = 1000, 1  # to which rates refer


@dataclass(slots=True)
class Amount:
    """A number of files and their size in bytes; floats, because a segment counts as a share of its file."""

    files: float = 0
    bytes: float = 0

    def add(self, files: float, bytes: float) -> None:
        """Add to both numbers, in place."""
        self.files += files
        self.bytes += bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """Computing time of a detector's answers."""

    seconds: float  # busy time of replicas
    gpu_seconds: float  # seconds times the share of a GPU that the replica holds
    cpu_seconds: float  # seconds of replicas without a GPU


@dataclass(frozen=True, slots=True)
class History:
    """The computing time of a detector for files of one kind. Answers from the cache are not counted."""

    analysed: Amount
    cost: Cost
    hours: float = 0.0  # that recordings among the files last


@dataclass(frozen=True, slots=True)
class Rate:
    """What a detector takes for PICTURES images, or for HOURS of video or audio."""

    detector: str
    kind: str  # image, video or audio
    seconds: float
    gpu_seconds: float
    cost: float | None  # None: no price is set


def history(out: str, s3_endpoint: str | None = None) -> dict[tuple[str, str | None], History]:
    """The computing time in a folder's rows, by (detector, kind of file); kind None: files of all kinds together."""
    return by_kind(sums(rows) for rows in results_files.scan(out, COLUMNS, s3_endpoint) if len(rows))


def by_kind(summed: Iterable[pa.Table]) -> dict[tuple[str, str | None], History]:
    """The tables of `sums`, added up, as of `history`."""
    by_kind: dict[tuple[str, str | None], History] = {}
    tables = list(summed)
    if not tables:
        return by_kind
    table = pa.concat_tables(tables)
    for keys in (["detector", "kind"], ["detector"]):
        for row in _summed(table, keys).to_pylist():
            cost = Cost(row["seconds"], row["gpu_seconds"], row["cpu_seconds"])
            by_kind[row["detector"], row.get("kind")] = History(Amount(row["files"], row["bytes"]), cost, row["hours"])
    return by_kind


def rates(past: Mapping[tuple[str, str | None], History], prices: Prices) -> list[Rate]:
    """What each detector takes for each kind of file, as far as it has analysed such files before."""
    found = []
    for detector, kind in sorted((detector, kind) for detector, kind in past if kind is not None):
        known = past[detector, kind]
        amount = known.analysed.files / PICTURES if kind == "image" else known.hours / HOURS
        if not amount or not known.cost.seconds:  # recordings that could not be opened; nothing for this detector
            continue
        each = 1 / amount
        cost = prices.of(known.cost.cpu_seconds * each, known.cost.gpu_seconds * each) if prices.known else None
        seconds, gpu_seconds = round(known.cost.seconds * each, 3), round(known.cost.gpu_seconds * each, 3)
        found.append(Rate(detector, kind, seconds, gpu_seconds, None if cost is None else round(cost, 4)))
    return found


_NUMBERS = ("files", "bytes", "hours", "seconds", "gpu_seconds", "cpu_seconds")


def sums(rows: pa.Table) -> pa.Table:
    """Rows of results as sums of _NUMBERS by detector and kind, without answers from the cache."""
    # every segment counts as the same share of its file
    share = pc.divide(1.0, pc.coalesce(rows["segments"].cast(pa.float64()), 1.0))
    of_row = pc.list_parent_indices(rows["usage"])
    usage = pc.list_flatten(rows["usage"]).combine_chunks()
    on_cpu = pc.equal(usage.field("gpu_seconds"), 0)
    table = pa.table(
        {
            "detector": usage.field("detector"),
            "kind": rows["kind"].take(of_row),
            "files": share.take(of_row),
            "bytes": pc.multiply(rows["size"].cast(pa.float64()), share).take(of_row),
            "hours": pc.multiply(pc.divide(pc.coalesce(rows["duration_s"], 0.0), 3600.0), share).take(of_row),
            "seconds": usage.field("seconds"),
            "gpu_seconds": usage.field("gpu_seconds"),
            "cpu_seconds": pc.if_else(on_cpu, usage.field("seconds"), 0.0),
        }
    )
    return _summed(table.filter(pc.invert(usage.field("reused"))), ["detector", "kind"])


def _summed(table: pa.Table, keys: list[str]) -> pa.Table:
    sums = table.group_by(keys).aggregate([(name, "sum") for name in _NUMBERS])
    return sums.select([*keys, *(f"{name}_sum" for name in _NUMBERS)]).rename_columns([*keys, *_NUMBERS])
