"""The cards of this machine, and which share of one each group of detectors gets."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

GB = 1024**3  # as cards are sold: one of "24 GB" has 24 of them
CONTEXT_GB = 0.5  # an estimate of what CUDA takes for every process, beside what its networks need

_HUNDREDTHS = 100


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its driver has it; free_gb is what nobody uses at this moment."""

    name: str
    memory_gb: float
    free_gb: float


def cards(nvml: Any = pynvml) -> list[Card]:
    """The cards that a process of this machine may use; none without a driver. CUDA_VISIBLE_DEVICES is obeyed."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        return [_card(nvml, handle) for handle in _visible(nvml)]
    except nvml.NVMLError:  # a card that fell off the bus, or a driver updated under a running system
        return []
    finally:
        nvml.nvmlShutdown()


def driver_version(nvml: Any = pynvml) -> str:
    """As the driver tells it. NVMLError without one: ask only where there are cards."""
    nvml.nvmlInit()
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    finally:
        nvml.nvmlShutdown()


def smallest_gb(cards: Iterable[Card]) -> float:
    """The memory of the smallest of them, which is what a share must do with; 0 when there are none."""
    return min((card.memory_gb for card in cards), default=0.0)


def _visible(nvml: Any) -> list[Any]:
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    wanted = [one.strip() for one in told.split(",") if one.strip() not in ("", "-1", "NoDevFiles")]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(one)) if one.isdigit() else nvml.nvmlDeviceGetHandleByUUID(one)
        for one in wanted
    ]


def _card(nvml: Any, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(nvml.nvmlDeviceGetName(handle), memory.total / GB, memory.free / GB)


@dataclass(frozen=True, slots=True)
class Plan:
    """How groups share cards of one size. Ray's fractions reserve a share; they do not enforce it."""

    fractions: Mapping[str, float]  # of a card, by group; all but those that are too large
    on_one: tuple[str, ...]  # as many groups as one card takes, the smallest first
    beyond: tuple[str, ...]  # those that need another card
    too_large: tuple[str, ...]  # those that no card of this size takes

    @property
    def total(self) -> float:
        """Of a card, what all that is in `fractions` takes."""
        return round(sum(self.fractions.values()), 2)


def plan(memory_gb: Mapping[str, float], card_gb: float) -> Plan:
    """Share cards of `card_gb` among groups that need so much memory each; who needs none gets none."""
    fractions = {group: fraction(needed, card_gb) for group, needed in memory_gb.items() if 0 < needed <= card_gb}
    on_one: list[str] = []
    taken = 0
    for group in sorted(fractions, key=lambda group: (fractions[group], group)):
        taken += round(fractions[group] * _HUNDREDTHS)
        if taken <= _HUNDREDTHS:
            on_one.append(group)
    return Plan(
        fractions,
        on_one=tuple(on_one),
        beyond=tuple(group for group in fractions if group not in on_one),
        too_large=tuple(group for group, needed in memory_gb.items() if needed > card_gb),
    )


def fraction(memory_gb: float, card_gb: float) -> float:
    """The share of a card that so much memory is, rounded up to a hundredth."""
    # first to what no memory has: 1.2 / 10 is a little more than 0.12
    return math.ceil(round(memory_gb / card_gb * _HUNDREDTHS, 6)) / _HUNDREDTHS


def cards_needed(fractions: Iterable[float]) -> int:
    """How many cards take these shares, none of them divided between two: first fit, the largest first."""
    free: list[int] = []
    for share in sorted((round(one * _HUNDREDTHS) for one in fractions if one > 0), reverse=True):
        if share > _HUNDREDTHS:  # whole cards
            free += [0] * math.ceil(share / _HUNDREDTHS)
            continue
        place = next((n for n, room in enumerate(free) if room >= share), None)
        if place is None:
            free.append(_HUNDREDTHS - share)
        else:
            free[place] -= share
    return len(free)
