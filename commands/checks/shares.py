"""The share of a card that each deployment of the gpu profile gets, on cards of several sizes."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from cluster import gpus
from cluster.settings import Settings

SIZES_GB = (10.0, 24.0, 80.0)


def plans(settings: Settings, cards: Sequence[gpus.Card]) -> dict[str, Any]:
    """The memory in GB that the replicas of each deployment declare, and their shares of cards of several sizes."""
    from deployments.serving.placement import grouped, memory_gb, replicas

    groups = grouped(settings)
    needed = {name: memory_gb(group) for name, group in groups.items() if memory_gb(group)}
    sizes = {f"{size:.0f} GB": size for size in SIZES_GB}
    if cards:
        sizes[f"this {cards[0].name}"] = gpus.smallest_gb(cards)
    planned = {label: gpus.plan(needed, size) for label, size in sizes.items()}
    return {
        "memory_gb": needed,
        "replicas": {name: replicas(groups[name]) for name in needed},
        "shares": {label: dict(plan.fractions) for label, plan in planned.items()},
        "cards_needed": {
            label: gpus.cards_needed(
                share for name, share in plan.fractions.items() for _ in range(replicas(groups[name]))
            )
            for label, plan in planned.items()
        },
        "advice": [sentence for label, plan in planned.items() for sentence in _advice(label, plan)],
    }


def _advice(label: str, plan: gpus.Plan) -> Iterator[str]:
    if plan.beyond:
        yield (
            f"{label}: {', '.join(plan.beyond)} does not fit beside the others. Add a card, take a smaller model or "
            "batch with its own gpu_memory_gb, or set detectors.NAME.gpus=0 to run it on the CPU."
        )
    if plan.too_large:
        yield f"{label}: {', '.join(plan.too_large)} fits no such card. Set detectors.NAME.gpus=0 or a smaller model."


def table(memory: dict[str, Any]) -> Table:
    """The shares as a table for people."""
    from cluster.records import COLOCATED

    labels = list(memory["shares"])
    shares_table = Table("deployment", "GB", *labels, title="the gpu profile, of a card")
    for name, gb in memory["memory_gb"].items():
        shares = (memory["shares"][label].get(name) for label in labels)
        cells = ("too large" if share is None else f"{share:.2f}" for share in shares)
        shares_table.add_row(" + ".join(name.split(COLOCATED)), f"{gb:.1f}", *cells)
    shares_table.add_section()
    shares_table.add_row("cards needed", "", *(str(memory["cards_needed"][label]) for label in labels))
    return shares_table
