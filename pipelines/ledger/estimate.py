"""The plan of a scan: which files it would analyse, why, and an estimate of time and cost. Nothing is analysed."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import Kind, ModelVersion
from cluster.results import files as results_files
from cluster.settings import Prices
from deployments.serving.placement import COLOCATED
from pipelines.ledger.left_out import Group, LeftOutFiles
from pipelines.ledger.listing import Places, Reason, units_of
from pipelines.ledger.stored import Stored


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


@dataclass(frozen=True, slots=True)
class Ask:
    """The files that a detector would analyse."""

    detector: str
    files: int
    cost: Cost | None  # estimated; None: it has no history for one of the kinds


@dataclass(frozen=True, slots=True)
class Plan:
    """The files that a scan would analyse, and the estimate."""

    units: Mapping[tuple[Reason, Kind | None], Amount]  # files to be analysed; a long video counts as one
    skipped: int  # unchanged files that every detector has answered for
    left_out: tuple[Group, ...]  # files without media and so on, by reason and suffix
    asks: tuple[Ask, ...]
    busiest: str | None  # the deployment, of one or several detectors, that takes longest; None: no estimate
    seconds: float | None  # its time with all its replicas working in parallel
    price: float | None  # None: no estimate, or no prices are set


def plan(
    places: Places,
    stored: Stored,
    wanted: Mapping[str, ModelVersion],
    segment_s: float,
    past: Mapping[tuple[str, str | None], History],
    replicas: Mapping[str, int],
    prices: Prices,
    s3_endpoint: str | None,
    tell: Callable[[int], None] | None = None,
) -> Plan:
    """List the files as a scan would, and estimate its cost from past scans into the same results. Nothing is written.

    `wanted`: the models that run now, by detector. `past`: as `history` returns it. `replicas`: their number for each
    deployment, by its name. `tell` is called with the number of files listed so far. SettingsError names a URI that
    does not exist or cannot be listed.
    """
    units: dict[tuple[Reason, Kind | None], Amount] = defaultdict(Amount)
    missing: dict[tuple[tuple[str, ...], Kind | None], Amount] = defaultdict(Amount)
    listed = skipped = 0
    left_out = LeftOutFiles()
    for batch, unchanged in units_of(places, stored, wanted, segment_s, s3_endpoint, left_out.add):
        for unit in batch:
            units[unit.reason, unit.item.kind].add(1, unit.item.size)
            missing[unit.missing, unit.item.kind].add(1, unit.item.size)
        listed, skipped = listed + len(batch), skipped + unchanged
        if tell:
            tell(listed + skipped + left_out.count)
    asks = tuple(_ask(name, missing, past) for name in sorted({name for names, _ in missing for name in names}))
    return Plan(dict(units), skipped, tuple(left_out.groups()), asks, *_estimate(asks, replicas, prices))


def history(out: str, s3_endpoint: str | None = None) -> dict[tuple[str, str | None], History]:
    """The computing time in a folder's rows, by (detector, kind of file); kind None: files of all kinds together."""
    sums = [
        _sums(rows) for rows in results_files.scan(out, ["size", "kind", "segments", "usage"], s3_endpoint) if len(rows)
    ]
    by_kind: dict[tuple[str, str | None], History] = {}
    if not sums:
        return by_kind
    table = pa.concat_tables(sums)
    for keys in (["detector", "kind"], ["detector"]):
        for row in _summed(table, keys).to_pylist():
            cost = Cost(row["seconds"], row["gpu_seconds"], row["cpu_seconds"])
            by_kind[row["detector"], row.get("kind")] = History(Amount(row["files"], row["bytes"]), cost)
    return by_kind


_NUMBERS = ("files", "bytes", "seconds", "gpu_seconds", "cpu_seconds")


def _sums(rows: pa.Table) -> pa.Table:
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
            "seconds": usage.field("seconds"),
            "gpu_seconds": usage.field("gpu_seconds"),
            "cpu_seconds": pc.if_else(on_cpu, usage.field("seconds"), 0.0),
        }
    )
    return _summed(table.filter(pc.invert(usage.field("reused"))), ["detector", "kind"])


def _summed(table: pa.Table, keys: list[str]) -> pa.Table:
    sums = table.group_by(keys).aggregate([(name, "sum") for name in _NUMBERS])
    return sums.select([*keys, *(f"{name}_sum" for name in _NUMBERS)]).rename_columns([*keys, *_NUMBERS])


def _ask(
    name: str,
    missing: Mapping[tuple[tuple[str, ...], Kind | None], Amount],
    past: Mapping[tuple[str, str | None], History],
) -> Ask:
    """The files that one detector would analyse; `missing` is by the detectors that have to answer, and kind."""
    files, seconds, gpu_seconds, cpu_seconds, known = 0, 0.0, 0.0, 0.0, True
    for (names, kind), amount in missing.items():
        if name not in names:
            continue
        files += round(amount.files)
        before = past.get((name, kind))
        if before is None:
            known = False
            continue
        # pictures cost the same each; recordings cost by length, for which a listing has only the size in bytes
        by_size = kind in ("video", "audio") and before.analysed.bytes
        times = amount.bytes / before.analysed.bytes if by_size else amount.files / before.analysed.files
        seconds += times * before.cost.seconds
        gpu_seconds += times * before.cost.gpu_seconds
        cpu_seconds += times * before.cost.cpu_seconds
    return Ask(name, files, Cost(seconds, gpu_seconds, cpu_seconds) if known else None)


def _estimate(
    asks: tuple[Ask, ...], replicas: Mapping[str, int], prices: Prices
) -> tuple[str | None, float | None, float | None]:
    """The deployment that takes longest, its seconds, and the price of all; None where it is not known."""
    costs = {ask.detector: ask.cost for ask in asks if ask.cost}
    if not costs or len(costs) < len(asks):
        return None, None, None
    worked = {
        deployment: sum(costs[name].seconds for name in deployment.split(COLOCATED) if name in costs) / count
        for deployment, count in replicas.items()
    }
    busiest = max(worked, key=lambda deployment: worked[deployment])
    price = sum(prices.of(cost.cpu_seconds, cost.gpu_seconds) for cost in costs.values()) if prices.known else None
    return busiest, worked[busiest], price
