"""`raysift doctor`: what this machine has, what a profile needs of it, and what to do about what is missing."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import psutil
import typer
from rich.console import Console
from rich.table import Table

from cluster import gpus
from cluster.errors import SettingsError
from cluster.settings import Settings, load
from commands.terminal import harmless

SLOWLY = "Without a card the gpu profile runs on the CPU, slowly."
SIZES_GB = (10.0, 24.0, 80.0)

_PULL = "Run `raysift models pull` where the hub can be reached, and set models.mirror to what it filled."

State = Literal["ok", "note", "fails"]
_GRADES: tuple[State, ...] = ("ok", "note", "fails")


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at. "fails": the profile cannot run; "note": it can, but read it."""

    what: str
    state: State
    said: str


def doctor(
    profile: Annotated[
        Literal["embedded", "gpu"] | None, typer.Option(help="Which models; default: settings.profile.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at this machine and say what a profile lacks. Starts and fetches nothing. Exits 1 if it cannot run here.

    The table tells which share of a card each deployment of the gpu profile is given, on cards of several sizes.
    """
    settings = load()
    if profile:
        settings = settings.model_copy(update={"profile": profile})
    cards = gpus.cards()
    checks = examine(settings, cards)
    memory = plans(settings.model_copy(update={"profile": "gpu"}), cards)
    well = all(check.state != "fails" for check in checks)
    if as_json:
        typer.echo(json.dumps({"profile": settings.profile, "ok": well, "checks": list(map(asdict, checks))} | memory))
    else:
        console = Console()
        console.print(_checked(settings.profile, checks))
        console.print(_planned(memory))
        for sentence in memory["advice"]:
            console.print(sentence, highlight=False)
        console.print(f"{SLOWLY} What a card is thought to need is an estimate: docs/performance.md.", highlight=False)
    raise typer.Exit(0 if well else 1)


def examine(settings: Settings, cards: Sequence[gpus.Card]) -> list[Check]:
    """Every check of that profile on this machine."""
    from deployments.planning import check_cards

    found = [_processor(), _memory(), *_cards(cards)]
    if cards and settings.profile == "gpu":
        found.append(_torch())
    try:
        hint = check_cards(settings, cards)
        found.append(Check("placement", "note" if hint else "ok", hint or "every detector has its place"))
    except SettingsError as error:
        found.append(Check("placement", "fails", str(error)))
    return [*found, *_weights(settings)]


def _processor() -> Check:
    return Check("CPU", "ok", f"{os.cpu_count()} logical processors")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    return Check("memory", "ok", f"{memory.total / gpus.GB:.1f} GB, {memory.available / gpus.GB:.1f} available")


def _cards(cards: Sequence[gpus.Card]) -> Iterator[Check]:
    if not cards:
        yield Check("card", "note", "no NVIDIA card, or no driver, that this process may use")
    for card in cards:
        used = card.memory_gb - card.free_gb
        said = f"{card.name}, {card.memory_gb:.1f} GB, {card.free_gb:.1f} free, driver {gpus.driver_version()}"
        # a driver keeps some for itself; Raysift, if it is up, is among the users
        yield Check("card", "note" if used > 1 else "ok", said + (", in use" if used > 1 else ""))


def _torch() -> Check:
    """Whether torch computes on the card: a driver too old or a card no longer supported shows only then."""
    import torch

    try:
        torch.ones(8, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:  # the latter: torch was built without CUDA
        reason = str(error).splitlines()[0]
        advice = f"Torch {torch.__version__} needs CUDA {torch.version.cuda or 'support'}: update the driver."
        return Check("torch", "fails", f"torch cannot compute on the card: {reason}. {advice}")
    return Check("torch", "ok", f"computes on the card with CUDA {torch.version.cuda}")


def _weights(settings: Settings) -> Iterator[Check]:
    """A check for each detector: whether its weights are here, without fetching them."""
    from deployments import backends
    from deployments.planning import configs

    for name, config in configs(settings).items():
        # a detector may have no weights at all
        found = [_one(reference, settings) for reference in config.model.split(backends.JOINT) if ":" in reference]
        worst: State = max((state for state, _ in found), key=_GRADES.index, default="ok")
        yield Check(f"weights of {name}", worst, "; ".join(dict.fromkeys(said for _, said in found)) or "needs none")


def _one(reference: str, settings: Settings) -> tuple[State, str]:
    from deployments.weights import references

    try:
        found = references.source(reference, settings).state()
    except SettingsError as error:
        return "fails", str(error)
    if found.there:
        return "ok", found.origin
    missing = found.missing if reference in found.missing else f"{reference}: {found.missing}"
    if found.origin == "nowhere" and settings.models.offline:
        missing += f" {_PULL}"
    return ("note" if found.origin == "hub" else "fails"), missing


def plans(settings: Settings, cards: Sequence[gpus.Card]) -> dict[str, Any]:
    """What each deployment's replicas declare to need of a card, and their share of cards of several sizes."""
    from deployments.planning import grouped, memory_gb, replicas

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


def _checked(profile: str, checks: Sequence[Check]) -> Table:
    table = Table("", "", "what was found", title=f"this machine, profile {profile}")
    colors = {"ok": "green", "note": "yellow", "fails": "red"}
    for check in checks:
        table.add_row(check.what, f"[{colors[check.state]}]{check.state}", harmless(check.said))
    return table


def _planned(memory: dict[str, Any]) -> Table:
    labels = list(memory["shares"])
    title = "the gpu profile, of a card"
    table = Table("deployment", "GB", *labels, title=title)
    for name, gb in memory["memory_gb"].items():
        shares = (memory["shares"][label].get(name) for label in labels)
        table.add_row(name, f"{gb:.1f}", *("too large" if share is None else f"{share:.2f}" for share in shares))
    table.add_section()
    table.add_row("cards needed", "", *(str(memory["cards_needed"][label]) for label in labels))
    return table
