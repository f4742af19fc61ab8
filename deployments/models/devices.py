"""Device, precision, batch sizes and memory of the networks in a process."""

import functools
import gc
import sys
from typing import Any

from cluster.errors import SettingsError
from cluster.gpus import CONTEXT_GB, GB


@functools.cache
def device() -> str:
    """ "cuda" if this process may use a card, else "cpu"; replicas without a share of a card do not see any."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype() -> Any:
    """The torch.dtype for weights: bfloat16 if the card supports it, else float16; float32 on the CPU."""
    import torch

    if device() == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def bucket(n: int, most: int) -> int:
    """The batch size to which n items are padded: the next power of two, or `most` if that is less; n <= most.

    It limits the number of shapes: cuDNN selects algorithms, and torch caches memory, for each one.
    """
    if not 1 <= n <= most:
        raise ValueError(f"a batch of {n} does not fit into {most}")
    return min(most, 1 << (n - 1).bit_length())


def hold_to(share: float) -> None:
    """Limit torch's allocator to this share of the card, minus the CUDA context of the process.

    CTranslate2 (whisper) and cuDNN's workspaces are not limited. A share of 0 or of whole cards sets no limit.
    SettingsError if the share is smaller than the context.
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
    """Memory of this process in GB: "main", resident without shared pages; "card", reserved by torch."""
    import psutil

    memory = psutil.Process().memory_info()
    # frames are in Ray's shared memory: pages that were read count as resident, but are no growth
    own = memory.rss - getattr(memory, "shared", 0)
    torch = sys.modules.get("torch")
    reserved = torch.cuda.memory_reserved() if torch and torch.cuda.is_initialized() else 0
    return {"main": own / GB, "card": reserved / GB}


def free() -> None:
    """Release unreferenced memory: reference cycles of networks, and torch's cache on the card."""
    gc.unfreeze()  # Serve freezes all objects of a replica, and frozen objects are never collected
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
