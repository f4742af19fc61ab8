"""The decoder process: it answers calls of its parent over a socket, within limits, and ends with its parent."""

import fcntl
import io
import os
import pickle
import resource
import select
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from cluster import heap
from cluster.errors import MediaError, SettingsError
from cluster.records import Kind, Sample, Segment
from cluster.settings import Decoding
from pipelines.archives.opening import Member, Others
from pipelines.media import decoding, guard, segments, unpacking
from pipelines.media.decoding import FileText, Frame, Media
from pipelines.media.originals import copies, moments, properties, regions
from pipelines.media.sources import Source

PROGRESS_S = 0.5  # from one message of progress to the next
CALLS = 5000  # after which a child is replaced: libraries leak memory, and to start one takes 0.8 CPU seconds
# of one call: when it began (seconds since 1970); seconds that it took, less those of sending, which waits for the
# reader; and of the processor
Work = tuple[float, float, float, float]

_ANSWERS = (FileText, Frame, Media, Sample, Segment, Member, Others, MediaError, SettingsError)
_ARRAYS = {"_frombuffer", "_reconstruct", "ndarray", "dtype", "scalar"}


class _AnswerUnpickler(pickle.Unpickler):
    """Unpickles records and arrays only: a file that has taken over the child executes nothing in its parent."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name. UnpicklingError if no answer may contain it."""
        record = next((kind for kind in _ANSWERS if (kind.__module__, kind.__name__) == (module, name)), None)
        if record is None and (module.split(".")[0] != "numpy" or name not in _ARRAYS):
            raise pickle.UnpicklingError(f"{module}.{name} is no answer of a decoder")
        return record or super().find_class(module, name)


def send(end: socket.socket, message: Any) -> None:
    """Send one message. Its arrays follow it out of band (pickle protocol 5), without a copy."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, 5, buffer_callback=buffers.append)
    parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    end.sendall(struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        end.sendall(part)


def receive(end: socket.socket, unpickler: type[pickle.Unpickler] = _AnswerUnpickler) -> Any:
    """The next message. EOFError if the other end is closed, UnpicklingError if the unpickler refuses it."""
    (count,) = struct.unpack("<I", _exactly(end, 4))
    body, *buffers = [_exactly(end, size) for size in struct.unpack(f"<{count}Q", _exactly(end, 8 * count))]
    return unpickler(io.BytesIO(body), buffers=buffers).load()


def _exactly(end: socket.socket, size: int) -> memoryview:
    """The next `size` bytes. EOFError if the other end closes before."""
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
    "frame_at": moments.frame_at,
    "sound": decoding.sound,
    "texts": decoding.texts,
    "cut": _cut,
    "members": unpacking.members,
    "extract": unpacking.extract,
    "part": copies.part,
    "still": copies.still,
    "picture": copies.picture,
    "reference": copies.reference,
    "properties": properties.properties,
    "region": regions.region,
}


def _serve(end: socket.socket, memory: int) -> None:
    """Answer calls until the parent closes its end, after CALLS calls, or when over half of the memory (bytes) is used.

    Messages are ("item", value), ("alive", None), and one ("end" | "failed" | "bug", (error, whether it takes another
    call, Work)) for each call.
    """
    reported, sending = time.monotonic(), Lock()

    def progressed() -> None:  # in threads, too: frames are compared in one
        nonlocal reported
        with sending:
            if time.monotonic() - reported > PROGRESS_S:
                send(end, ("alive", None))
                reported = time.monotonic()

    guard.on_progress(progressed)
    for served in range(1, CALLS + 1):
        if not select.select([end], [], [], heap.IDLE_S)[0]:
            heap.give_back()
        call, arguments = receive(end, pickle.Unpickler)
        began, began_cpu, began_s, sending_s = time.time(), time.process_time(), time.monotonic(), 0.0
        what: str = "end"
        error: Exception | str | None = None
        try:
            for item in _CALLS[call](*arguments):
                made_s = time.monotonic()
                with sending:
                    send(end, ("item", item))
                sending_s += time.monotonic() - made_s
        except (MediaError, SettingsError) as caught:
            what, error = "failed", caught
        except MemoryError:
            what, error = "failed", MediaError("decode", guard.TOO_LARGE)
        except Exception:
            what, error = "bug", traceback.format_exc()
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        again = served < CALLS and taken < memory / 2  # memory that one file leaked must not fail the next
        took_s = time.monotonic() - began_s
        work: Work = (began, took_s, took_s - sending_s, time.process_time() - began_cpu)
        send(end, (what, (error, again, work)))
        if not again:
            return


def main(fd: int, memory: int) -> None:
    """Run the child: set its limits, then serve the socket `fd`. `memory`: bytes of address space."""
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
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write about broken files to stderr
    with suppress(EOFError, OSError):
        _serve(end, memory)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
