"""The plan of a scan: which files it would analyse, why, and an estimate of time and cost. Nothing is analysed."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster.records import COLOCATED, Kind, ModelVersion
from cluster.settings import Prices
from pipelines.ledger.left_out import Group, LeftOutFiles
from pipelines.ledger.listing import Places, Reason, units_of
from pipelines.ledger.stored import Stored
from pipelines.results.costs import Amount, Cost, History, Rate, rates


class _Late(Exception):
    """The time of a listing is over."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The files that a detector would analyse."""

    detector: str
    files: int
    cost: Cost | None  # estimated; None: it has no history for one of the kinds
    price: float | None  # of this time; None: not estimated, or no prices are set


@dataclass(frozen=True, slots=True)
class Plan:
    """The files that a scan would analyse, and the estimate."""

    units: Mapping[tuple[Reason, Kind | None], Amount]  # files to be analysed; a long video counts as one
    skipped: int  # unchanged files that every detector has answered for
    left_out: tuple[Group, ...]  # files without media and so on, by reason and suffix
    asks: tuple[Ask, ...]
    rates: tuple[Rate, ...]  # what the detectors that would be asked took so far, for each kind of file
    busiest: str | None  # the deployment, of one or several detectors, that takes longest; None: no estimate
    seconds: float | None  # its time with all its replicas working in parallel
    price: float | None  # None: no estimate, or no prices are set
    complete: bool = True  # False: the listing was ended at its deadline, and nothing is estimated


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
    until: float = math.inf,
) -> Plan:
    """List the files as a scan would, and estimate its cost from past scans into the same results. Nothing is written.

    `wanted`: the models that run now, by detector. `past`: as `history` returns it. `replicas`: their number for each
    deployment, by its name. `tell` is called with the number of files listed so far. `until`: when the listing is
    ended, by time.monotonic(). SettingsError names a URI that does not exist or cannot be listed.
    """
    units: dict[tuple[Reason, Kind | None], Amount] = defaultdict(Amount)
    missing: dict[tuple[tuple[str, ...], Kind | None], Amount] = defaultdict(Amount)
    listed = skipped = 0
    complete = True
    left_out = LeftOutFiles()

    def leave_out(uri: str, reason: str) -> None:
        left_out.add(uri, reason)
        if time.monotonic() > until:  # a listing of which everything is excluded has no batches
            raise _Late

    try:
        for batch, unchanged in units_of(places, stored, wanted, segment_s, s3_endpoint, leave_out):
            for unit in batch:
                units[unit.reason, unit.item.kind].add(1, unit.item.size)
                missing[unit.missing, unit.item.kind].add(1, unit.item.size)
            listed, skipped = listed + len(batch), skipped + unchanged
            if tell:
                tell(listed + skipped + left_out.count)
            if time.monotonic() > until:
                raise _Late
    except _Late:
        complete = False
    asks = tuple(_ask(name, missing, past, prices) for name in sorted({name for names, _ in missing for name in names}))
    asked = {(name, kind): known for (name, kind), known in past.items() if name in {ask.detector for ask in asks}}
    known_rates = tuple(rates(asked, prices))
    estimate = _estimate(asks, replicas, prices) if complete else (None, None, None)
    return Plan(dict(units), skipped, tuple(left_out.groups()), asks, known_rates, *estimate, complete)


def _ask(
    name: str,
    missing: Mapping[tuple[tuple[str, ...], Kind | None], Amount],
    past: Mapping[tuple[str, str | None], History],
    prices: Prices,
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
    if not known:
        return Ask(name, files, None, None)
    price = round(prices.of(cpu_seconds, gpu_seconds), 4) if prices.known else None
    return Ask(name, files, Cost(seconds, gpu_seconds, cpu_seconds), price)


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
