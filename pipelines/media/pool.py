"""A pool of decoder processes: a file that crashes, stalls or exhausts a decoder fails alone."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

from cluster.access.secret_variables import environment_without_secrets
from cluster.errors import MediaError
from cluster.records import Box, Kind, Sample, Segment
from cluster.settings import Decoding
from cluster.traces import spans
from pipelines.archives.limits import Limits
from pipelines.archives.opening import Member, Others
from pipelines.media.decoding import FileText, Frame, Media, Pixels
from pipelines.media.originals.properties import Properties
from pipelines.media.sources import Source
from pipelines.media.worker import Work, receive, send

log = logging.getLogger(__name__)

MEMORY_GB = 6.0  # address space of each child; no file within decoding.max_pixels was seen to take more than 3.5
IDLE = 4  # idle children that are kept for the next file
START_S = 120  # seconds, enough on a busy machine
_BUFFER = 1 << 20  # of the socket: a frame of 7.7 MB passes in 2 ms


class Decoder:
    """Decodes in child processes, one for each stream that is being read; threads may share a Decoder.

    Crashes, stalls and memory exhaustion by a file become MediaErrors. RuntimeError, with the child's traceback, is a
    bug here.
    """

    def __init__(self, memory_gb: float = MEMORY_GB) -> None:
        self._memory = int(memory_gb * (1 << 30))
        self._lock = Lock()
        self._children: list[_Child] = []
        self._idle: list[_Child] = []
        self._closed = False

    def probe(self, source: Source, limits: Decoding) -> tuple[Kind, Media]:
        """The kind of the file by its bytes, and its header. MediaError says why it cannot be analysed."""
        (answer,) = self._answers(limits, "probe", source, limits)
        return answer

    def frames(
        self,
        source: Source,
        kind: Kind,
        limits: Decoding,
        segment: Segment | None = None,
        with_thumbnail: bool = False,
        with_tiles: bool = False,
    ) -> Iterator[Frame]:
        """The sampled frames of a file, as of `decoding.frames`."""
        return self._answers(limits, "frames", source, kind, limits, segment, with_thumbnail, with_tiles)

    def pixels_at(self, source: Source, kind: Kind, limits: Decoding, time_s: float | None) -> Pixels:
        """The frame of a file at a time, as of `moments.frame_at`. MediaError if there is none."""
        (frame,) = self._answers(limits, "frame_at", source, kind, limits, time_s)
        assert frame.sample.pixels is not None
        return frame.sample.pixels

    def sound(self, source: Source, limits: Decoding, segment: Segment | None = None) -> Iterator[Sample]:
        """The sound of a file, as of `decoding.sound`."""
        return self._answers(limits, "sound", source, limits, segment)

    def texts(self, source: Source, kind: Kind, limits: Decoding, segment: Segment | None = None) -> Iterator[FileText]:
        """The text that a file contains, as of `decoding.texts`."""
        return self._answers(limits, "texts", source, kind, limits, segment)

    def cut(self, path: Path, limits: Decoding) -> tuple[Segment, ...]:
        """The segments of a video, as of `segments.segments`."""
        (answer,) = self._answers(limits, "cut", path, limits)
        return answer

    def members(self, path: Path, limits: Decoding, containers: Limits) -> Iterator[Member | Others]:
        """The members of a container, as of `unpacking.members`."""
        return self._answers(limits, "members", path, containers)

    def extract(
        self, path: Path, wanted: list[int], folder: Path, limits: Decoding, containers: Limits
    ) -> Iterator[tuple[int, str | None]]:
        """Unpack members of a container into a folder, as of `unpacking.extract`."""
        return self._answers(limits, "extract", path, wanted, folder, containers)

    def part(self, source: Source, from_s: float, limits: Decoding) -> Iterator[str | bytes]:
        """A part of a recording that browsers can play, as of `copies.part`. Closing it ends the work."""
        return self._answers(limits, "part", source, from_s, limits)

    def still(self, source: Source, at_s: float, limits: Decoding) -> bytes:
        """The frame of a film at a time as JPEG, as of `copies.still`."""
        (answer,) = self._answers(limits, "still", source, at_s, limits)
        return bytes(answer)

    def picture(self, source: Source, limits: Decoding) -> bytes:
        """A picture as JPEG, as of `copies.picture`."""
        (answer,) = self._answers(limits, "picture", source, limits)
        return bytes(answer)

    def reference(self, path: Path, transparent: bool, limits: Decoding) -> bytes:
        """A picture for a gallery as PNG, as of `copies.reference`."""
        (answer,) = self._answers(limits, "reference", path, transparent, limits)
        return bytes(answer)

    def region(self, source: Source, kind: Kind, box: Box, at_s: float, limits: Decoding) -> bytes:
        """A part of a picture or of a film's frame as PNG, as of `regions.region`."""
        (answer,) = self._answers(limits, "region", source, kind, box, at_s, limits)
        return bytes(answer)

    def properties(self, source: Source, kind: Kind, limits: Decoding) -> Properties:
        """What a file says about itself, as of `properties.properties`."""
        (answer,) = self._answers(limits, "properties", source, kind)
        return dict(answer)

    def close(self) -> None:
        """End the children. A caller that reads from one gets a RuntimeError."""
        with self._lock:
            self._closed = True
            children, self._children, self._idle = self._children, [], []
        for child in children:
            if child.free:
                child.end()
            else:  # the thread that reads from it ends it
                child.process.kill()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _answers(self, limits: Decoding, call: str, *arguments: Any) -> Iterator[Any]:
        """The answers of a call. A child that died before its first answer is replaced once by a new one."""
        child, begun = self._take(), False
        try:
            while True:
                try:
                    for answer in child.answers(limits.decoder_timeout_s, call, *arguments):
                        begun = True
                        yield answer
                    return
                except _Died:
                    how = child.end(wait_s=1)  # it is about to exit
                    log.warning("a decoder ended by %s during %s", how, call)
                    if self._closed:
                        raise RuntimeError("the decoder was closed while it was read from") from None
                    if begun or child.calls == 1:
                        raise MediaError("decode", f"it crashed the decoder ({how})") from None
                    self._leave(child)
                    child = self._started()  # the previous file may have damaged the child
        finally:
            self._leave(child)

    def _take(self) -> "_Child":
        """An idle child, or a new one."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    return child
                self._children.remove(child)
                child.end()
        return self._started()

    def _started(self) -> "_Child":
        child = _Child(self._memory)
        with self._lock:
            if self._closed:
                child.end()
                raise RuntimeError("the decoder is closed")
            self._children.append(child)
        return child

    def _leave(self, child: "_Child") -> None:
        """Keep a child for the next file, unless it has not finished a call, has ended, or there are enough."""
        with self._lock:
            if child.free and not self._closed and len(self._idle) < IDLE:
                self._idle.append(child)
                return
            self._children = [other for other in self._children if other is not child]
        child.end()


class _Died(Exception):
    """A child ended before its answer did."""


class _CallSpan:
    """The span of one call in a decoder process, which has no way to a collector: it opens other people's files."""

    def __init__(self, call: str, process: int) -> None:
        self._call, self._process = call, process
        self._around, self._sent_at = spans.around(), time.time()

    def end(self, error: str | None, work: Work | None = None) -> None:
        """Record the span: by the child's clock where it has answered, else from the call until now."""
        facts: dict[str, str | int | float] = {"what": self._call, "process": self._process}
        began_s, ended_s = self._sent_at, time.time()
        if work is not None:
            began_s, took_s, worked_s, cpu_s = map(float, work)  # numbers, whatever has taken over the child
            ended_s = began_s + took_s
            facts |= {"worked_s": round(worked_s, 4), "cpu_s": round(cpu_s, 4)}
        spans.record("decoder", self._around, began_s, ended_s, error, **facts)


class _Child:
    """A decoder process and the socket to it."""

    def __init__(self, memory: int) -> None:
        self.calls = 0
        self.free = True  # it can take another call
        self._end, its = socket.socketpair()
        for end in (self._end, its):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        with its:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.media.worker", str(its.fileno()), str(memory)],
                stdin=subprocess.PIPE,  # never written to: it closes when this process ends, which ends the child
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                env=environment_without_secrets() | own,  # it opens other people's files
                start_new_session=True,  # Ctrl-C goes to this process only
            )
        try:
            self._end.settimeout(START_S)
            receive(self._end)
        except (OSError, EOFError):
            raise RuntimeError(f"a process to decode in did not start ({self.end(wait_s=1)})") from None

    def answers(self, decoder_timeout_s: float, call: str, *arguments: Any) -> Iterator[Any]:
        """What a call yields. MediaError and SettingsError as raised in the child, RuntimeError for its bugs, _Died."""
        self.calls, self.free = self.calls + 1, False
        self._end.settimeout(decoder_timeout_s)
        span = _CallSpan(call, self.process.pid)
        try:
            send(self._end, (call, arguments))
            while True:
                what, content = receive(self._end)
                if what == "item":
                    yield content
                elif what != "alive":
                    break
        except TimeoutError:
            self.end()
            span.end("stalled")
            reason = f"it stalled a decoder for {decoder_timeout_s:g} seconds, the limit decoding.decoder_timeout_s"
            raise MediaError("decode", reason) from None
        except (OSError, EOFError, pickle.UnpicklingError):
            span.end("died")
            raise _Died from None
        except GeneratorExit:
            span.end(None)
            raise
        error, self.free, work = content
        span.end(None if error is None else what, work)
        if error is None:
            return
        raise RuntimeError(error) if what == "bug" else error

    def end(self, wait_s: float = 0) -> str:
        """Kill the process unless it ends within wait_s. Returns how it ended: its signal or exit code."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(wait_s)
        self.process.kill()
        code = self.process.wait()
        self.free = False
        self._end.close()
        if self.process.stdin:
            self.process.stdin.close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
