"""What the backends of detectors share: weights out of installed packages, ONNX sessions, one thread, derived files."""

import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
    """The files or folders that a `model` setting names: as many as it has parts, joined by " + ".

    Each is found, fetched if need be and checked as weights/references.py says. SettingsError says what is missing.
    """
    named = reference.split(JOINT)
    if len(named) != parts:
        raise SettingsError(
            f"model {reference!r} names {len(named)} sources of weights; {parts} are needed, joined by '{JOINT}'."
        )
    return tuple(references.source(part, load()).path() for part in named)


def shared(key: str, make: Callable[[], T]) -> T:
    """What `make` gives, made once in this process for that key: detectors that live together load a network once."""
    with _SHARING:
        if key not in _SHARED:
            _SHARED[key] = make()
        return cast(T, _SHARED[key])


def forget() -> None:
    """Let go of all that is shared: what asks for it next makes it anew."""
    with _SHARING:
        _SHARED.clear()


def onnx_session(graph: Path) -> Any:
    """An onnxruntime.InferenceSession of that graph on the CPU, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # the arena keeps the largest batch's memory for ever; replicas share a machine
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def torch_on_one_thread() -> Any:
    """The torch module, held to one thread: two that spin on a busy machine are 7 to 16 times slower."""
    import torch

    torch.set_num_threads(1)
    return torch


@contextmanager
def quiet() -> Iterator[None]:
    """Keep other libraries' warnings about themselves, which no operator can act on, out of the log while they load."""
    logging_was = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging_was)


def in_batches(items: Sequence[T], size: int, answer: Callable[[Sequence[T]], Iterable[R]]) -> list[R]:
    """All answers in order, asked for at most `size` items at a time: it bounds the memory of a large request.

    Where the card has no memory for that many, the batch is halved, for the rest of the call; one item that does not
    fit raises what the library raised. Each time is counted.
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
        # only here: the error, which is gone by now, held what the network had allocated when it failed
        devices.free()
        events.count("out of memory: batch halved")
    return answers


def _out_of_memory(error: RuntimeError) -> bool:
    """torch.OutOfMemoryError, its libraries' own errors, and CTranslate2's, which has no class for it."""
    said = str(error)
    return "out of memory" in said or "_STATUS_ALLOC_FAILED" in said


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, d) scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
