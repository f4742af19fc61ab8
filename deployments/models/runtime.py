"""Common parts of detectors' backends: weights, shared networks, ONNX sessions, batches, one thread."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from cluster.errors import SettingsError
from cluster.settings import load
from deployments import events
from deployments.models import devices
from deployments.weights import references
from deployments.weights.copies import cache_folder as cache_folder
from deployments.weights.references import JOINT as JOINT

T = TypeVar("T")
R = TypeVar("R")

_SHARED: dict[str, Any] = {}
_SHARING = threading.RLock()


def weights(reference: str, parts: int = 1) -> tuple[Path, ...]:
    """The files or folders that a `model` setting names, one for each of its parts, which " + " joins.

    Each is located, fetched if need be and checked as weights/references.py describes. SettingsError names what is
    missing, or that there are not so many parts.
    """
    named = reference.split(JOINT)
    if len(named) != parts:
        raise SettingsError(
            f"model {reference!r} names {len(named)} sources of weights; {parts} are needed, joined by '{JOINT}'."
        )
    return tuple(references.source(part, load()).path() for part in named)


def shared(key: str, make: Callable[[], T]) -> T:
    """The result of `make`, called once for that key in this process: colocated detectors load a network once."""
    with _SHARING:
        if key not in _SHARED:
            _SHARED[key] = make()
        return cast(T, _SHARED[key])


def forget() -> None:
    """Drop all shared objects; the next call of `shared` makes them again."""
    with _SHARING:
        _SHARED.clear()


def onnx_session(graph: Path) -> Any:
    """An onnxruntime.InferenceSession of the graph on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # the arena never frees the memory of the largest batch, and replicas share a machine
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def torch_on_one_thread() -> Any:
    """The torch module, limited to one thread: two that spin on a busy machine are 7 to 16 times slower."""
    import torch

    torch.set_num_threads(1)
    return torch


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of libraries while they load; no operator can act on them."""
    logging_was = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging_was)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Import torchvision without torch's compiler, which takes 2.5 s of CPU and 120 MB, and which nobody here calls.

    One function of torchvision asks the compiler whether a device can compile; it is told that none can. Afterwards
    the compiler can be imported as ever.
    """
    if "torch._dynamo" in sys.modules:
        yield
        return
    stand_in = ModuleType("torch._dynamo.utils")
    stand_in.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    sys.modules |= {"torch._dynamo": ModuleType("torch._dynamo"), stand_in.__name__: stand_in}
    try:
        yield
    finally:
        del sys.modules["torch._dynamo"], sys.modules[stand_in.__name__]


def in_batches(items: Sequence[T], size: int, answer: Callable[[Sequence[T]], Iterable[R]]) -> list[R]:
    """The answers for all items in order, computed in batches of at most `size`, which limits memory.

    If the card runs out of memory, the batch is halved for the rest of the call; if a single item does not fit, the
    library's error is raised. Both are counted as events.
    """
    answers: list[R] = []
    done = 0
    while done < len(items):
        batch = items[done : done + size]
        try:
            answers += list(answer(batch))
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if len(batch) == 1:
                events.count("out of memory: one item does not fit")
                raise
            size = len(batch) // 2
        else:
            done += len(batch)
            continue
        # outside the handler: the error referenced what the network had allocated when it failed
        devices.free()
        events.count("out of memory: batch halved")
    return answers


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether it is torch.OutOfMemoryError, one of cuDNN or cuBLAS, or CTranslate2's, which has no class of its own."""
    said = str(error)
    return "out of memory" in said or "_STATUS_ALLOC_FAILED" in said


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, d) scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
