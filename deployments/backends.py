"""What the backends of detectors share: weights out of installed packages, ONNX sessions, one thread, derived files."""

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from cluster.errors import SettingsError

_REFERENCE = re.compile(r"package:(?P<name>[\w.-]+)==(?P<version>[^/\s]+)/(?P<path>[^/\s]\S*)")
JOINT = " + "

T = TypeVar("T")
R = TypeVar("R")

_SHARED: dict[str, Any] = {}
_SHARING = threading.RLock()


def weights(reference: str, parts: int = 1) -> tuple[Path, ...]:
    """The files or folders that a `model` setting names: as many as it has parts, joined by " + ".

    A part is `package:NAME==VERSION/PATH`: the installed distribution of exactly that version, and a path as the
    distribution's own RECORD has it. Nothing is imported and nothing downloaded. SettingsError says what is missing.
    """
    named = reference.split(JOINT)
    if len(named) != parts:
        raise SettingsError(
            f"model {reference!r} names {len(named)} sources of weights; {parts} are needed, joined by '{JOINT}'."
        )
    return tuple(_located(part) for part in named)


def _located(reference: str) -> Path:
    match = _REFERENCE.fullmatch(reference)
    if match is None or ".." in Path(match["path"]).parts:
        raise SettingsError(f"model {reference!r} is no weights reference; write package:NAME==VERSION/PATH.")
    wanted = f"{match['name']}=={match['version']}"
    try:
        distribution = metadata.distribution(match["name"])
    except metadata.PackageNotFoundError:
        raise SettingsError(f"model {reference!r}: {match['name']} is not installed. Install {wanted}.") from None
    if distribution.version != match["version"]:
        raise SettingsError(
            f"model {reference!r}: {match['name']} is installed as {distribution.version}. "
            f"Install {wanted} or change the setting."
        )
    path = Path(str(distribution.locate_file(match["path"])))
    if not path.exists():
        raise SettingsError(f"model {reference!r}: {wanted} has no {match['path']}. Correct the path or reinstall it.")
    return path


def shared(key: str, make: Callable[[], T]) -> T:
    """What `make` gives, made once in this process for that key: detectors that live together load a network once."""
    with _SHARING:
        if key not in _SHARED:
            _SHARED[key] = make()
        return cast(T, _SHARED[key])


def cache_folder(*parts: str) -> Path:
    """Where files derived from weights are kept: $XDG_CACHE_HOME/raysift or ~/.cache/raysift. Made when missing.

    SettingsError where it cannot be made.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root.joinpath("raysift", *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"cannot make the folder {folder} ({error.strerror}). Set XDG_CACHE_HOME to one that can be written."
        ) from None
    return folder


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
    """All answers in order, asked for at most `size` items at a time: it bounds the memory of a large request."""
    return [one for start in range(0, len(items), size) for one in answer(items[start : start + size])]


def unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, d) scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
