"""A process that decodes for its parent: it answers calls over a socket, within limits, and ends with its parent."""

import fcntl
import io
import os
import pickle
import resource
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cluster.errors import MediaError, SettingsError
from cluster.records import Kind, Sample, Segment
from cluster.settings import Decoding
from pipelines.media import decoding, formats, segments
from pipelines.media.decoding import Frame, Media
from pipelines.media.sources import Source

CALLS = 1000  # after which a child is replaced: libraries leak
_ANSWERS = (Frame, Media, Sample, Segment, MediaError, SettingsError)
_ARRAYS = {"_frombuffer", "_reconstruct", "ndarray", "dtype", "scalar"}


class _Answer(pickle.Unpickler):
    """What comes from a child is data: a file that has taken it over runs nothing here."""

    def find_class(self, module: str, name: str) -> Any:
        ours = next((one for one in _ANSWERS if (one.__module__, one.__name__) == (module, name)), None)
        if ours is None and (module.split(".")[0] != "numpy" or name not in _ARRAYS):
            raise pickle.UnpicklingError(f"{module}.{name} is no answer of a decoder")
        return ours or super().find_class(module, name)


def send(end: socket.socket, message: Any) -> None:
    """One message, its arrays beside it: they are not copied into it."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, 5, buffer_callback=buffers.append)
    parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    end.sendall(struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        end.sendall(part)


def receive(end: socket.socket, unpickler: type[pickle.Unpickler] = _Answer) -> Any:
    """The next message. EOFError if the other end is gone, UnpicklingError if it is no answer of a child."""
    (count,) = struct.unpack("<I", _exactly(end, 4))
    body, *buffers = [_exactly(end, size) for size in struct.unpack(f"<{count}Q", _exactly(end, 8 * count))]
    return unpickler(io.BytesIO(body), buffers=buffers).load()


def _exactly(end: socket.socket, size: int) -> memoryview:
    content = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        received = end.recv_into(content[at:])
        if not received:
            raise EOFError
        at += received
    return content


def _probe(source: Source, limits: Decoding) -> Iterator[tuple[Kind, Media]]:
    media = decoding.probe(source, None, limits)
    yield media.kind, media


def _cut(path: Path, limits: Decoding) -> Iterator[tuple[Segment, ...]]:
    yield segments.segments(path, limits)


_CALLS: dict[str, Callable[..., Iterator[Any]]] = {
    "probe": _probe,
    "frames": decoding.frames,
    "sound": decoding.sound,
    "cut": _cut,
}


def _serve(end: socket.socket, memory: int) -> None:
    """Answer one call after the other, until the parent is gone."""
    told = time.monotonic()

    def returned() -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            send(end, ("alive", None))
            told = time.monotonic()

    formats.watch(returned)
    for served in range(1, CALLS + 1):
        call, arguments = receive(end, pickle.Unpickler)
        what: str = "end"
        error: Exception | str | None = None
        try:
            for item in _CALLS[call](*arguments):
                send(end, ("item", item))
        except (MediaError, SettingsError) as caught:
            what, error = "failed", caught
        except MemoryError:
            what, error = "failed", MediaError("decode", formats.TOO_LARGE)
        except Exception:
            what, error = "bug", traceback.format_exc()
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        again = served < CALLS and taken < memory / 2  # what one file has left behind must not fail the next
        send(end, (what, (error, again)))
        if not again:
            return


def main(fd: int, memory: int) -> None:
    """Be a child: limits, and the parent's end is the end."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # decoding.max_pixels is the limit
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # SIGIO, which ends a process, when the parent's end of the pipe closes, however it died; a thread that waits for
    # it could not run while a library hangs, and PR_SET_PDEATHSIG goes by the parent's thread
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    end = socket.socket(fileno=fd)
    send(end, ("ready", None))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write there what is wrong with files
    with suppress(EOFError, OSError):
        _serve(end, memory)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
