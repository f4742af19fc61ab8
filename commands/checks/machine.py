"""Checks of this machine: its hardware, and what a profile needs. Nothing is started or downloaded."""

import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from cluster import gpus
from cluster.errors import SettingsError
from cluster.settings import Settings
from commands.checks.check import GRADES, Check, State

SHARED = Path("/dev/shm")
FREE_GB = 5.0
MOST_FILES = 8192  # the limit that Ray needs; it raises the soft limit itself

_PULL = "Run `raysift models pull` where the hub can be reached, and set models.mirror to its target."


def examine(settings: Settings, cards: Sequence[gpus.Card]) -> list[Check]:
    """All checks of the profile of these settings on this machine."""
    from deployments.serving.placement import check_cards

    found = [_processor(), _memory(), disk("state_dir", settings.state_dir)]
    found += [*_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]), *_shared_memory(SHARED, settings)]
    found += _cards(cards)
    if cards and settings.profile == "gpu":
        found.append(_torch())
    try:
        hint = check_cards(settings, cards)
        found.append(Check("placement", "note" if hint else "ok", hint or "every detector has its place"))
    except SettingsError as error:
        found.append(Check("placement", "fails", str(error)))
    return [*found, *_weights(settings)]


def disk(what: str, folder: Path) -> Check:
    """The disk of a folder that exists or would be created: free space, and whether this user may write to it."""
    folder = folder.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        who = psutil.Process().username()
        return Check(what, "fails", f"{who} may not write to {there}. Allow it, or set another {what}.")
    free_gb = psutil.disk_usage(str(there)).free / gpus.GB
    short = free_gb < FREE_GB
    message = f"{free_gb:.1f} GB free for {folder}"
    return Check(
        what, "note" if short else "ok", f"{message}: little. Free some, or set another {what}." if short else message
    )


def _files(most: int) -> Iterator[Check]:
    if most != resource.RLIM_INFINITY and most < MOST_FILES:
        yield Check(
            "open files",
            "note",
            f"a process may have {most} open here; with many workers Ray needs more. Run `ulimit -n 65536` before it "
            "is started, or give a container --ulimit nofile=65536.",
        )


def _shared_memory(folder: Path, settings: Settings) -> Iterator[Check]:
    if not folder.exists():
        return
    has_mb = psutil.disk_usage(str(folder)).total / 1e6
    needed_mb = settings.ray.object_store_mb
    if has_mb < needed_mb:
        yield Check(
            "shared memory",
            "note",
            f"{folder} has {has_mb:.0f} MB and ray.object_store_mb asks for {needed_mb}: Ray keeps frames on disk, "
            f"slowly. Give a container --shm-size={needed_mb * 2}m.",
        )


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
        message = f"{card.name}, {card.memory_gb:.1f} GB, {card.free_gb:.1f} free, driver {gpus.driver_version()}"
        # the driver itself uses some; a running Raysift counts as use
        yield Check("card", "note" if used > 1 else "ok", message + (", in use" if used > 1 else ""))


def _torch() -> Check:
    """Whether torch computes on the card. Only this shows an outdated driver or an unsupported card."""
    import torch

    try:
        torch.ones(8, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:  # the latter: torch was built without CUDA
        reason = str(error).splitlines()[0]
        advice = f"Torch {torch.__version__} needs CUDA {torch.version.cuda or 'support'}: update the driver."
        return Check("torch", "fails", f"torch cannot compute on the card: {reason}. {advice}")
    return Check("torch", "ok", f"computes on the card with CUDA {torch.version.cuda}")


def _weights(settings: Settings) -> Iterator[Check]:
    """A check for each detector: whether its weights are on this machine. Nothing is downloaded."""
    from deployments.models import runtime
    from deployments.serving.placement import configs

    for name, config in configs(settings).items():
        if config.remote:
            yield Check(f"weights of {name}", "ok", f"none needed here: {config.remote.url} runs it")
            continue
        # a detector may have no weights at all
        found = [
            _weights_state(reference, settings) for reference in config.model.split(runtime.JOINT) if ":" in reference
        ]
        worst: State = max((state for state, _ in found), key=GRADES.index, default="ok")
        yield Check(
            f"weights of {name}", worst, "; ".join(dict.fromkeys(message for _, message in found)) or "needs none"
        )


def _weights_state(reference: str, settings: Settings) -> tuple[State, str]:
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
