"""Detection of weights that can run code when they are loaded (pickles)."""

import re
import struct
from pathlib import Path

from cluster.errors import SettingsError
from deployments.weights import copies

SAFE = (".safetensors", ".onnx")  # numbers and graphs without code
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")  # torch.save's, or its users' names for them
CTRANSLATE2 = "model.bin"  # what CTranslate2 calls its models; is_ctranslate2 looks into one that is here


def unpinned(reference: str, name: str, pinned: str | None = None) -> str:
    """The message that weights on the hub are refused; `pinned` is the reference to the hub's current commit."""
    as_now = f": {pinned} is what the hub has now" if pinned else ""
    return (
        f"model {reference!r} has only pickles ({name}), which can run code when they are loaded. Take another; or, if "
        f"you trust these, name the full commit instead of a branch, or add #sha256=HEX{as_now}."
    )


def refuse(path: Path, reference: str) -> None:
    """Raise SettingsError if a file is a pickle, or if all weights of a folder are."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    pickled = sorted(file for file in files if file.suffix in PICKLES and not is_ctranslate2(file))
    if pickled and not any(file.suffix in SAFE for file in files):
        raise SettingsError(
            f"model {reference!r} has only pickles ({pickled[0].name}), which can run code when they are loaded. "
            f"If these are the bytes that you trust, pin them: {reference}#sha256={copies.digest(path)}"
        )


def is_ctranslate2(file: Path) -> bool:
    """Whether it is a model of CTranslate2, which is no pickle though its name ends in .bin.

    It begins with a version, 4 bytes, and the name of a model specification, 2 bytes of length first
    (model_spec.py of CTranslate2). No pickle begins so: \\x06 or the like is none of its opcodes, a zip begins with PK,
    and what loads such models reads arrays alone.
    """
    with file.open("rb") as opened:
        head = opened.read(70)
    if len(head) < 6:
        return False
    version, length = struct.unpack_from("<IH", head)
    return 1 <= version < 32 and re.fullmatch(rb"\w+Spec\0", head[6 : 6 + length]) is not None
