"""Which detectors run, under which names and model versions, which share a replica, and each one's share of a GPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cluster import gpus
from cluster.errors import SettingsError
from cluster.records import COLOCATED, ModelVersion
from cluster.settings import Settings, explain
from deployments.detector import DetectorConfig, detector_class, names

APP = "raysift"  # the name of the Serve application
LOOK_BACK_S = 10.5  # over which Serve averages the requests; it warns below 10, since callers report every 10 s


def configs(settings: Settings) -> dict[str, DetectorConfig]:
    """The checked config of every enabled detector. SettingsError names the detector or key that is wrong."""
    for name in settings.detectors:
        if name not in names():
            raise SettingsError(
                f"settings: no detector {name!r}; there are {', '.join(names())}. Correct its spelling."
            )
    enabled = {}
    for name in names():
        kind = detector_class(name)
        given: dict[str, Any] = {"backend": settings.profile} if settings.profile in kind.backends else {}
        if "gallery" in kind.Config.model_fields:
            given["gallery"] = f"{settings.galleries}/{name}"
        try:
            config = kind.Config(**given | settings.detectors.get(name, {}))
        except ValidationError as error:
            raise SettingsError(explain(error, f"settings, detectors.{name}")) from None
        if config.enabled:
            enabled[name] = config
    return enabled


def versions(settings: Settings) -> dict[str, ModelVersion]:
    """Detector name -> the model version that its answers are stored under, for every enabled detector."""
    return {
        name: ModelVersion(name, detector_class(name).version(config.there), config.floor)
        for name, config in configs(settings).items()
    }


def grouped(settings: Settings) -> dict[str, dict[str, DetectorConfig]]:
    """Deployment name -> its detectors -> their config, for every enabled detector. The name joins theirs."""
    groups: dict[str, dict[str, DetectorConfig]] = {}
    for name, config in configs(settings).items():
        groups.setdefault(config.colocate or name, {})[name] = config
    return {COLOCATED.join(group): group for group in groups.values()}


def memory_gb(group: Mapping[str, DetectorConfig]) -> float:
    """GPU memory in GB of colocated detectors: the most that one of them needs, since they share loaded networks."""
    return max(config.gpu_memory_gb for config in group.values())


def replicas(group: Mapping[str, DetectorConfig]) -> int:
    """The least number of replicas of a deployment."""
    return max(config.replicas for config in group.values())


def most_replicas(group: Mapping[str, DetectorConfig]) -> int:
    """The largest number of replicas of a deployment."""
    return max(config.most_replicas for config in group.values())


def scale(group: Mapping[str, DetectorConfig]) -> dict[str, Any]:
    """Serve's options for the number of replicas of colocated detectors: the most that one of them wants."""
    least, most = replicas(group), most_replicas(group)
    if most <= least:
        return {"num_replicas": least}
    delays = ("upscale_delay_s", "downscale_delay_s", "downscale_to_zero_delay_s")
    waits = {delay: max(getattr(config, delay) for config in group.values()) for delay in delays}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": 2,
            "look_back_period_s": LOOK_BACK_S,
            **waits,
        }
    }


def shares(groups: Mapping[str, Mapping[str, DetectorConfig]], card_gb: float) -> dict[str, float]:
    """Deployment name -> the fraction of a GPU of card_gb memory that each replica gets.

    It is detectors.NAME.gpus where an operator has set it, else the memory needed divided by that of the card. It is 0
    for detectors that need no GPU, and for all when there is none (card_gb 0): they run on the CPU. SettingsError names
    a deployment that needs more memory than the card has.
    """
    stated = {
        group: max(config.gpus or 0 for config in members.values())
        for group, members in groups.items()
        if any(config.gpus is not None for config in members.values())
    }
    needed = {group: memory_gb(members) for group, members in groups.items() if group not in stated}
    if not card_gb:
        return {**dict.fromkeys(groups, 0.0), **stated}
    planned = gpus.plan(needed, card_gb)
    for group in planned.too_large:
        raise SettingsError(
            f"{group} needs {needed[group]:.1f} GB of a card, and the card has {card_gb:.1f}. Set a smaller batch or "
            f"model with its own gpu_memory_gb, or detectors.{group.split(COLOCATED)[0]}.gpus=0 to run it on the CPU."
        )
    return {**dict.fromkeys(groups, 0.0), **planned.fractions, **stated}


def check_cards(settings: Settings, cards: Sequence[gpus.Card]) -> str:
    """A note for the operator on how the detectors share this machine's GPUs; empty when nothing is unusual.

    SettingsError if the detectors need more GPUs than there are.
    """
    groups = grouped(settings)
    given = shares(groups, gpus.smallest_gb(cards))
    least, most = (_cards(groups, given, number) for number in (replicas, most_replicas))
    if least > len(cards):
        listed = ", ".join(f"{name} {given[name]:.2f}" for name in groups if given[name])
        raise SettingsError(
            f"the detectors need {least} cards, and this machine has {len(cards)}: {listed} of a card. Leave one out "
            "(detectors.NAME.enabled=false), run it on the CPU (detectors.NAME.gpus=0), or give it less: a smaller "
            "model or batch, with its own gpu_memory_gb."
        )
    hints = []
    if most > max(least, len(cards)):
        hints.append(f"with all replicas that max_replicas allows, the detectors need {most} cards of the cluster")
    on_cpu = [name for name, group in groups.items() if memory_gb(group) and not given[name]]
    if on_cpu:
        reason = "are given no card" if cards else "find no NVIDIA card on this machine"
        hints.append(f"{', '.join(on_cpu)} {reason} and run on the CPU, slowly")
    return "; ".join(hints)


def _cards(
    groups: Mapping[str, Mapping[str, DetectorConfig]],
    given: Mapping[str, float],
    number: Callable[[Mapping[str, DetectorConfig]], int],
) -> int:
    """How many GPUs the deployments need, with `number` of a group as its number of replicas."""
    return gpus.cards_needed(given[name] for name, group in groups.items() for _ in range(number(group)))
