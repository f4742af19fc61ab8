"""Where the networks of a process run, in which precision and batch size, and what memory they take there."""

import functools
import gc
import sys
from typing import Any

from cluster.errors import SettingsError
from cluster.gpus import CONTEXT_GB, GB


@functools.cache
def device() -> str:
    """ "cuda" where this process may use a card, else "cpu". serving.py hides the cards from who is given no share."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype() -> Any:
    """The torch.dtype to load weights in: bfloat16 where the card computes in it, else float16; float32 on the CPU."""
    import torch

    if device() == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def bucket(n: int, most: int) -> int:
    """The batch size to pad n items to, n <= most: the next of 1, 2, 4, 8, ..., or `most`.

    Few different shapes: a card chooses its algorithms, and keeps memory, for each one that it meets.
    """
    if not 1 <= n <= most:
        raise ValueError(f"a batch of {n} does not fit into {most}")
    return min(most, 1 << (n - 1).bit_length())


def hold_to(share: float) -> None:
    """Let torch allocate no more than this share of the card, less what CUDA itself takes for the process.

    Only torch's own allocator is held: CTranslate2 (whisper) and cuDNN's workspaces are not. A share of 0 or of whole
    cards is no limit. SettingsError when the share leaves nothing.
    """
    if not 0 < share < 1 or device() == "cpu":
        return
    import torch

    card_gb = torch.cuda.get_device_properties(0).total_memory / GB
    if share * card_gb <= CONTEXT_GB:
        raise SettingsError(
            f"{share:.2f} of this card is {share * card_gb:.1f} GB, and CUDA alone takes {CONTEXT_GB} of each process. "
            "Set a larger detectors.NAME.gpus, or gpu_memory_gb."
        )
    torch.cuda.set_per_process_memory_fraction(share - CONTEXT_GB / card_gb)


def memory_gb() -> dict[str, float]:
    """What this process holds now: "main", its own memory without what it shares; "card", what torch reserved."""
    import psutil

    memory = psutil.Process().memory_info()
    # frames lie in Ray's shared memory: each page that is looked at counts as resident, and is no growth
    own = memory.rss - getattr(memory, "shared", 0)
    torch = sys.modules.get("torch")
    reserved = torch.cuda.memory_reserved() if torch and torch.cuda.is_initialized() else 0
    return {"main": own / GB, "card": reserved / GB}


def free() -> None:
    """Give back what no object holds any longer: networks that refer to themselves, and torch's cache on the card."""
    gc.unfreeze()  # Serve freezes all that a replica has loaded, and what is frozen is never collected
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
