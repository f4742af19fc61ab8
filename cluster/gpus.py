"""The GPUs of this machine ("cards"), and the share of one that each group of detectors gets."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

GB = 1024**3  # the unit of cards: one of "24 GB" has 24 of these
CONTEXT_GB = 0.5  # estimated memory of CUDA's context in every process, besides its networks

_HUNDREDTHS = 100


@dataclass(frozen=True, slots=True)
class Card:
    """A card as the driver reports it. Memory is in GB of 1024**3 bytes; free_gb is what no process uses now."""

    name: str
    memory_gb: float
    free_gb: float


def cards(nvml: Any = pynvml) -> list[Card]:
    """The cards that a process of this machine may use; none without a driver. Respects CUDA_VISIBLE_DEVICES."""
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
    """The version of the NVIDIA driver. NVMLError without a driver."""
    nvml.nvmlInit()
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    finally:
        nvml.nvmlShutdown()


def smallest_gb(cards: Iterable[Card]) -> float:
    """Memory of the smallest card in GB, the base of every share; 0 without cards."""
    return min((card.memory_gb for card in cards), default=0.0)


def _visible(nvml: Any) -> list[Any]:
    """NVML handles of the cards in CUDA_VISIBLE_DEVICES, by index or UUID; of all cards if it is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    names = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
        for name in names
    ]


def _card(nvml: Any, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Card(nvml.nvmlDeviceGetName(handle), memory.total / GB, memory.free / GB)


@dataclass(frozen=True, slots=True)
class Plan:
    """How groups of detectors share cards of one size. Ray reserves fractions but does not enforce them."""

    fractions: Mapping[str, float]  # group -> share of a card, 0 to 1; without those that are too large
    on_one: tuple[str, ...]  # groups that fit on one card together, smallest first
    beyond: tuple[str, ...]  # those that need another card
    too_large: tuple[str, ...]  # those that need more than a whole card

    @property
    def total(self) -> float:
        """The sum of all fractions, in cards."""
        return round(sum(self.fractions.values()), 2)


def plan(memory_gb: Mapping[str, float], card_gb: float) -> Plan:
    """Divide cards of `card_gb` among groups by the memory in GB that each needs. Groups that need 0 are left out."""
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
    """`memory_gb` as a share of a card, rounded up to a hundredth."""
    # rounded first, because in floating point 1.2 / 10 * 100 is slightly more than 12
    return math.ceil(round(memory_gb / card_gb * _HUNDREDTHS, 6)) / _HUNDREDTHS


def cards_needed(fractions: Iterable[float]) -> int:
    """The number of cards for these shares, none divided between two cards: first fit, largest share first."""
    free: list[int] = []
    for share in sorted((round(share * _HUNDREDTHS) for share in fractions if share > 0), reverse=True):
        if share > _HUNDREDTHS:  # whole cards
            free += [0] * math.ceil(share / _HUNDREDTHS)
            continue
        place = next((n for n, room in enumerate(free) if room >= share), None)
        if place is None:
            free.append(_HUNDREDTHS - share)
        else:
            free[place] -= share
    return len(free)
