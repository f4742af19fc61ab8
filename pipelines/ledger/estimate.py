"""What a scan would do, why, and what it would take, before anything is done."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.records import Kind, ModelVersion
from cluster.results import files as results_files
from cluster.settings import Prices
from deployments.serving.placement import COLOCATED
from pipelines.ledger.listing import Reason, units_of
from pipelines.ledger.stored import Stored


@dataclass(slots=True)
class Amount:
    """So many files, and so many bytes of them."""

    files: float = 0
    bytes: float = 0

    def add(self, files: float, bytes: float) -> None:
        self.files += files
        self.bytes += bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """What answers of a detector took."""

    seconds: float  # that its replicas worked
    gpu_seconds: float  # of these, by the share of a card that a replica holds
    cpu_seconds: float  # of these, by replicas without a card


@dataclass(frozen=True, slots=True)
class History:
    """What a detector has spent on files of a kind: those that were computed, not those that were remembered."""

    on: Amount
    spent: Cost


@dataclass(frozen=True, slots=True)
class Ask:
    """How many files a detector would be asked about."""

    detector: str
    files: int
    cost: Cost | None  # what that takes; None: nothing was measured here yet, or not of every kind


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scan would do."""

    units: Mapping[tuple[Reason, Kind | None], Amount]  # files to be analysed; a long video is one
    skipped: int  # files that are unchanged, and answered by every detector already
    asks: tuple[Ask, ...]
    busiest: str | None  # the deployment, of one or several detectors, that would work longest; None: no estimate
    seconds: float | None  # how long its replicas take
    price: float | None  # None: no estimate, or no prices are set


def plan(
    uris: list[str],
    stored: Stored,
    wanted: Mapping[str, ModelVersion],
    segment_s: float,
    spent: Mapping[tuple[str, str | None], History],
    replicas: Mapping[str, int],
    prices: Prices,
    s3_endpoint: str | None,
    tell: Callable[[int], None] | None = None,
) -> Plan:
    """List what a scan would, and estimate by what was `spent` in the same results; nothing is written.

    `replicas` is of each deployment, by the names of its detectors. SettingsError names a URI that does not exist or
    cannot be listed.
    """
    units: dict[tuple[Reason, Kind | None], Amount] = defaultdict(Amount)
    asked: dict[tuple[tuple[str, ...], Kind | None], Amount] = defaultdict(Amount)
    listed = owed = 0
    for found, count in units_of(uris, stored, wanted, segment_s, s3_endpoint):
        for unit in found:
            units[unit.reason, unit.item.kind].add(1, unit.item.size)
            asked[unit.missing, unit.item.kind].add(1, unit.item.size)
        listed, owed = listed + count, owed + len(found)
        if tell:
            tell(listed)
    asks = tuple(_ask(name, asked, spent) for name in sorted({name for names, _ in asked for name in names}))
    return Plan(dict(units), listed - owed, asks, *_estimate(asks, replicas, prices))


def history(out: str, s3_endpoint: str | None = None) -> dict[tuple[str, str | None], History]:
    """What each detector has spent on each kind of file in a folder's rows; under None, on files of any kind."""
    sums = [
        _sums(rows) for rows in results_files.scan(out, ["size", "kind", "segments", "usage"], s3_endpoint) if len(rows)
    ]
    found: dict[tuple[str, str | None], History] = {}
    if not sums:
        return found
    table = pa.concat_tables(sums)
    for keys in (["detector", "kind"], ["detector"]):
        for row in _summed(table, keys).to_pylist():
            spent = Cost(row["seconds"], row["gpu_seconds"], row["cpu_seconds"])
            found[row["detector"], row.get("kind")] = History(Amount(row["files"], row["bytes"]), spent)
    return found


_NUMBERS = ("files", "bytes", "seconds", "gpu_seconds", "cpu_seconds")


def _sums(rows: pa.Table) -> pa.Table:
    # a segment is as much of its file as any other
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
    asked: Mapping[tuple[tuple[str, ...], Kind | None], Amount],
    spent: Mapping[tuple[str, str | None], History],
) -> Ask:
    files, seconds, gpu_seconds, cpu_seconds, known = 0, 0.0, 0.0, 0.0, True
    for (names, kind), amount in asked.items():
        if name not in names:
            continue
        files += round(amount.files)
        before = spent.get((name, kind))
        if before is None:
            known = False
            continue
        # pictures cost what pictures cost; recordings by their length, which listing does not know, but for the size
        by_size = kind in ("video", "audio") and before.on.bytes
        times = amount.bytes / before.on.bytes if by_size else amount.files / before.on.files
        seconds += times * before.spent.seconds
        gpu_seconds += times * before.spent.gpu_seconds
        cpu_seconds += times * before.spent.cpu_seconds
    return Ask(name, files, Cost(seconds, gpu_seconds, cpu_seconds) if known else None)


def _estimate(
    asks: tuple[Ask, ...], replicas: Mapping[str, int], prices: Prices
) -> tuple[str | None, float | None, float | None]:
    """Whose replicas work longest, how long, and what all of them cost."""
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
