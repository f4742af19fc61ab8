"""The plan of a scan by the settings, for the command line and the API."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict

from cluster.api_job_types import DetectorRate, Estimate, LeftOutGroup, PlannedDetector, PlannedFiles, ScanPlan
from cluster.records import Kind, ModelVersion
from cluster.settings import Settings
from cluster.storage.roots import Roots
from deployments.serving.placement import grouped, most_replicas
from pipelines.ledger.estimate import Plan, plan
from pipelines.ledger.listing import Places, Reason
from pipelines.ledger.stored import stored
from pipelines.results.costs import Amount, history


def plan_scan(
    places: Places,
    wanted: Mapping[str, ModelVersion],
    settings: Settings,
    tell: Callable[[int], None] | None = None,
    until: float = math.inf,
) -> Plan:
    """The plan of a scan over these places, with what was measured in their folder of results. As of `plan`."""
    endpoint = settings.s3_endpoint
    return plan(
        places,
        stored(places.out, endpoint),
        wanted,
        settings.decoding.segment_s,
        history(places.out, endpoint),
        {name: most_replicas(group) for name, group in grouped(settings).items()},
        settings.prices,
        endpoint,
        tell,
        until,
    )


def answered_plan(
    uris: tuple[str, ...],
    out: str,
    exclude: tuple[str, ...],
    wanted: Mapping[str, ModelVersion],
    settings: Settings,
    until: float,
) -> ScanPlan:
    """The plan of a scan of what lies under the settings' roots, for the API. Arguments as of Places and plan_scan."""
    return answer(plan_scan(Places(uris, out, exclude, Roots(settings.scanning.roots)), wanted, settings, until=until))


def answer(made: Plan) -> ScanPlan:
    """The plan as the API and `--json` show it."""
    units = tuple(
        PlannedFiles(reason=reason, kind=kind, files=int(amount.files), bytes=int(amount.bytes))
        for (reason, kind), amount in in_order(made)
    )
    detectors = tuple(
        PlannedDetector(
            detector=ask.detector,
            files=ask.files,
            seconds=round(ask.cost.seconds, 3) if ask.cost else None,
            gpu_seconds=round(ask.cost.gpu_seconds, 3) if ask.cost else None,
            cost=ask.price,
        )
        for ask in made.asks
    )
    return ScanPlan(
        files=sum(unit.files for unit in units),
        skipped=made.skipped,
        left_out_groups=tuple(LeftOutGroup(**asdict(group)) for group in made.left_out),
        units=units,
        detectors=detectors,
        rates=tuple(DetectorRate.model_validate(asdict(rate)) for rate in made.rates),
        estimate=Estimate(busiest=made.busiest, seconds=made.seconds, cost=made.price),
        complete=made.complete,
    )


def in_order(made: Plan) -> list[tuple[tuple[Reason, Kind | None], Amount]]:
    """The files to be analysed, by reason and kind."""
    return sorted(made.units.items(), key=lambda unit: f"{unit[0][0]} {unit[0][1]}")
