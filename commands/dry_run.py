"""`raysift scan --dry-run`: what a scan would analyse and why, how long it would take and what it would cost."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table

from cluster.errors import SettingsError
from cluster.records import ModelVersion
from cluster.settings import Settings
from cluster.storage import buckets
from commands import tables
from commands.scans import names
from commands.terminal import api_client, harmless, waiting
from pipelines.ledger.estimate import Plan
from pipelines.ledger.listing import Places
from pipelines.ledger.planning import answer, in_order, plan_scan

NOT_MEASURED = "no estimate: nothing was measured here yet"


def dry_run(
    settings: Settings, uris: list[str], out: str | None, detectors: Sequence[str] | None, exclude: Sequence[str] = ()
) -> Plan:
    """Plan a scan without running it. SettingsError for the same reasons as a scan."""
    with api_client(settings) as api:
        answer = api.get("/v1/detectors")
        answer.raise_for_status()
        running = {
            detector["name"]: ModelVersion(detector["name"], detector["model"], detector["floor"])
            for detector in answer.json()
        }
    wanted = names(detectors) or list(running)
    for name in wanted:
        if name not in running:
            raise SettingsError(f"no detector {name!r}; there are {', '.join(running)}. Correct --detectors.")
    places = Places(tuple(uris), buckets.normalize(out or settings.results), (*settings.scanning.exclude, *exclude))
    with waiting("reading the stored results") as update:
        return plan_scan(
            places, {name: running[name] for name in wanted}, settings, lambda files: update(f"{files:,} files listed")
        )


def show(plan: Plan) -> Group:
    """The plan as tables: what would be analysed and why, each detector's work, its past rates, the estimated time."""
    units = Table("why", "kind", "files", "GB", title="to be analysed")
    for (reason, kind), amount in in_order(plan):
        units.add_row(reason, kind or "unknown", f"{amount.files:,.0f}", f"{amount.bytes / 1e9:,.2f}")
    units.add_section()
    units.add_row("unchanged, skipped", "", f"{plan.skipped:,}", "")
    for group in plan.left_out:
        units.add_row(f"left out: {harmless(group.reason)}", harmless(group.suffix), f"{group.count:,}", "")
    priced = plan.price is not None
    columns = ("files", "seconds", "GPU seconds", *(["cost"] if priced else []))
    asks = Table("detector", *columns, title="work of each detector")
    for ask in plan.asks:
        seconds, gpu_seconds = (ask.cost.seconds, ask.cost.gpu_seconds) if ask.cost else (None, None)
        cost = [f"{ask.price:,.4f}"] if priced else []
        asks.add_row(ask.detector, f"{ask.files:,}", _number(seconds), _number(gpu_seconds), *cost)
    before = [tables.rates(map(asdict, plan.rates), "what it took before")] if plan.rates else []
    return Group(units, asks, *before, _estimate(plan)) if plan.asks else Group(units)


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON; null where there is no estimate."""
    return answer(plan).model_dump(mode="json")


def _estimate(plan: Plan) -> str:
    if plan.seconds is None:
        unknown = ", ".join(ask.detector for ask in plan.asks if not ask.cost)
        return f"{NOT_MEASURED} of {unknown}" if unknown else NOT_MEASURED
    minutes = f"{plan.seconds / 3600:,.1f} hours" if plan.seconds >= 3600 else f"{plan.seconds / 60:,.1f} minutes"
    cost = f"; at settings.prices it costs {plan.price:,.2f}" if plan.price is not None else ""
    return f"about {minutes}: {plan.busiest} takes longest, with all its replicas at work{cost}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}"
