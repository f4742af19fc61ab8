import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from cluster.errors import MediaError
from cluster.settings import Decoding
from cluster.traces import spans
from pipelines.media import decoding, guard, worker
from pipelines.media.pool import Decoder
from pipelines.media.worker import receive, send
from tests.cluster.traces.kept import kept_spans
from tests.support.media import RED, film, png, save, solid, song
from tests.support.paths import ROOT

LIMITS = Decoding()


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of more frames than a socket holds."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 240, 320, 3), np.uint8)
    return film(tmp_path_factory.mktemp("isolating") / "a.mp4", map(Image.fromarray, noise), rate=1, sound_hz=440)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "pipelines.media.worker" in child.cmdline()}


def begun(decoder: Decoder, video: Path, limits: Decoding = LIMITS) -> tuple[Iterator[decoding.Frame], int]:
    """A stream of which one frame was read, and the process behind it."""
    idle = [decoder.frames(video, "video", LIMITS) for _ in children()]  # so that it gets a process of its own
    for one in idle:
        next(one)
    before = children()
    stream = decoder.frames(video, "video", limits)
    next(stream)
    (pid,) = children() - before
    for one in idle:
        list(one)
    return stream, pid


def complaint(stream: Iterator[object]) -> str:
    with pytest.raises(MediaError) as caught:
        list(stream)
    assert caught.value.step == "decode"
    return caught.value.reason


def test_a_child_returns_the_same_as_this_process(decoder, video):
    assert decoder.probe(video, LIMITS) == ("video", decoding.probe(video, "video", LIMITS))
    theirs, ours = (list(each.frames(video, "video", LIMITS, None, True)) for each in (decoder, decoding))
    assert len(theirs) == len(ours) == 40
    for one, other in zip(theirs, ours, strict=True):
        assert (one.sample.time_s, one.same_as_before) == (other.sample.time_s, other.same_as_before)
        assert one.thumbnail == other.thumbnail
        assert (one.sample.pixels == other.sample.pixels).all() and one.sample.pixels.flags.writeable
    (theirs,), (ours,) = (list(each.sound(video, LIMITS)) for each in (decoder, decoding))
    assert (theirs.sound == ours.sound).all() and theirs.time_s == ours.time_s


def test_an_error_of_a_file_has_the_same_message(decoder, tmp_path):
    (tmp_path / "a.jpg").write_text("Dear reader")
    with pytest.raises(MediaError, match="no image, video or audio format that is read here"):
        decoder.probe(tmp_path / "a.jpg", LIMITS)


def test_a_killed_decoder_is_an_error_of_the_file_and_the_next_file_is_read(decoder, video):
    stream, pid = begun(decoder, video)
    os.kill(pid, signal.SIGSEGV)
    assert complaint(stream) == "it crashed the decoder (signal SIGSEGV)"
    assert decoder.probe(video, LIMITS)[0] == "video"


def test_a_decoder_imports_this_checkout_whatever_the_working_directory(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Decoder() as own:
        before = children()
        assert own.probe(video, LIMITS)[0] == "video"
        (pid,) = children() - before
        assert psutil.Process(pid).environ()["PYTHONPATH"] == str(ROOT)


def test_a_decoder_that_died_before_the_file_is_replaced(video):
    with Decoder() as own:
        before = children()
        own.probe(video, LIMITS)
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        assert len(list(own.frames(video, "video", LIMITS))) == 40


def test_a_decoder_that_stalls_is_stopped(decoder, video):
    stream, pid = begun(decoder, video, Decoding(decoder_timeout_s=3))
    os.kill(pid, signal.SIGSTOP)
    assert complaint(stream) == "it stalled a decoder for 3 seconds, the limit decoding.decoder_timeout_s"
    assert not psutil.pid_exists(pid)


def repeated(film: Path, to: Path, times: int) -> Path:
    """Write a video of `times` copies of a film's only packet, a key frame, which are encoded no more."""
    with av.open(str(film)) as one, av.open(str(to), "w") as many:
        (packet,) = [packet for packet in one.demux(video=0) if packet.size]
        stream = many.add_stream_from_template(one.streams.video[0])
        length = packet.duration
        packet.stream = stream
        for n in range(times):
            packet.pts = packet.dts = n * length
            many.mux(packet)
    return to


@pytest.mark.ray  # takes seconds
def test_a_decoder_that_works_long_on_one_frame_has_not_stalled(decoder, tmp_path):
    video = repeated(film(tmp_path / "a.mp4", [solid(RED, 1280, 720)], codec="mjpeg"), tmp_path / "b.mp4", 1000)
    assert len(list(decoder.frames(video, "video", Decoding(frames_per_s=0.01, decoder_timeout_s=2)))) == 1


def test_progress_that_a_thread_reports_does_not_break_into_a_frame(video, monkeypatch):
    monkeypatch.setattr(worker, "PROGRESS_S", 0.0)
    monkeypatch.setattr(guard, "_listeners", [])
    ours, its = socket.socketpair()
    with ThreadPoolExecutor(1) as aside, ours, its:
        served = aside.submit(worker._serve, its, sys.maxsize)
        send(ours, ("frames", (video, "video", LIMITS)))
        told = []
        while not told or told[-1] in ("item", "alive"):
            told.append(receive(ours)[0])
        ours.close()
        assert isinstance(served.exception(), EOFError)
    assert told[-1] == "end" and told.count("item") == 40 and told.count("alive") >= 40


def test_many_files_are_decoded_at_a_time_and_few_idle_processes_are_kept(video):
    with Decoder() as own:
        before = children()
        streams = [own.frames(video, "video", LIMITS) for _ in range(6)]
        together = zip(*streams, strict=True)
        assert len(list(islice(together, 5))) == 5 and len(children() - before) == 6
        assert len(list(together)) == 35
        assert len(children() - before) == 4


def test_an_abandoned_stream_leaves_no_process(decoder, video):
    stream, pid = begun(decoder, video)
    del stream
    assert not psutil.pid_exists(pid)


def test_a_file_that_exhausts_memory_fails_alone(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(14_000, 14_000, zlib.compress(bytes(14_001 * 14_000), 1)))
    small = save(tmp_path / "a.png", solid(RED))
    with Decoder(memory_gb=0.6) as own:  # a child that has decoded nothing takes half of it
        assert complaint(own.frames(tmp_path / "bomb.png", "image", LIMITS)) == guard.TOO_LARGE
        assert len(list(own.frames(small, "image", LIMITS))) == 1


def test_a_bug_is_not_an_error_of_the_file(decoder, video):
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*AttributeError"):
        list(decoder.sound(video, LIMITS, "the first half"))
    assert decoder.probe(video, LIMITS)[0] == "video"


def test_an_answer_of_a_child_cannot_execute_code_here():
    ours, its = socket.socketpair()
    with ours, its:
        for harm in (print, subprocess.Popen, decoding.frames):
            send(its, ("item", harm))
            with pytest.raises(pickle.UnpicklingError, match="is no answer of a decoder"):
                receive(ours)


def test_reading_from_a_closed_decoder_raises(video):
    own = Decoder()
    stream = own.frames(video, "video", LIMITS)
    next(stream)
    own.close()
    for reading in (stream, own.frames(video, "video", LIMITS)):
        with pytest.raises(RuntimeError, match="closed"):
            list(reading)


HOLDER = """
import sys, time
from pathlib import Path
from cluster.settings import Decoding
from pipelines.media.pool import Decoder
decoder = Decoder()
idle, busy = (decoder.frames(Path(sys.argv[1]), "video", Decoding()) for _ in range(2))
next(busy), next(idle), list(idle)
print("ready", flush=True)
time.sleep(60)
"""


def test_no_child_outlives_a_parent_that_was_killed(video):
    parent = subprocess.Popen([sys.executable, "-c", HOLDER, video], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
    orphans = psutil.Process(parent.pid).children()
    assert len(orphans) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs(orphans, timeout=10)[1] == []


def test_the_sound_of_a_song_is_decoded(decoder, tmp_path):
    path = song(tmp_path / "a.mp3", "libmp3lame")
    assert decoder.probe(path, LIMITS)[0] == "audio"
    assert list(decoder.frames(path, "audio", LIMITS)) == []
    (piece,) = decoder.sound(path, LIMITS)
    assert piece.sound.dtype == np.float32 and piece.time_s == 0.0


def wait_until_it_waits(pid: int) -> None:
    """Wait until a process sleeps, and has not run for 0.3 s."""
    process, used = psutil.Process(pid), None
    while process.status() != psutil.STATUS_SLEEPING or used != (used := process.cpu_times()):
        time.sleep(0.3)


def test_what_a_child_does_is_a_span_with_its_process_and_its_times(video):
    with Decoder() as own, kept_spans() as kept, spans.span("batch"):
        before = children()
        stream = spans.over("decode", own.frames(video, "video", LIMITS), what="frames")
        next(stream)
        (pid,) = children() - before
        wait_until_it_waits(pid)  # the frames are more than a socket holds: the child waits for its reader
        assert len(list(stream)) == 39
    assert kept.paths() == {"batch", "batch/decode", "batch/decode/decoder"}
    span, around = kept.named("decoder"), kept.named("decode")
    took_s = (span.end_time - span.start_time) / 1e9
    assert span.attributes["what"] == "frames" and span.attributes["process"] == pid != os.getpid()
    assert 0 < span.attributes["worked_s"] < took_s - 0.2 and 0 < span.attributes["cpu_s"] < took_s
    assert span.status.is_unset and around.start_time <= span.start_time < span.end_time <= around.end_time


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_span_of_a_child_that_gives_no_end_says_why(video, number):
    with Decoder() as own, kept_spans() as kept, spans.span("batch"):
        before = children()
        stream = own.frames(video, "video", Decoding(decoder_timeout_s=1))
        next(stream)
        (pid,) = children() - before
        os.kill(pid, number)
        with pytest.raises(MediaError):
            list(stream)
    span = kept.named("decoder")
    assert span.status.description == ("died" if number == signal.SIGKILL else "stalled")
    assert span.end_time > span.start_time and "worked_s" not in span.attributes


def test_the_span_of_a_stream_that_nobody_reads_to_its_end_is_recorded_too(video):
    with Decoder() as own, kept_spans() as kept, spans.span("batch"):
        list(islice(spans.over("decode", own.frames(video, "video", LIMITS)), 1))
    assert kept.paths() == {"batch", "batch/decode", "batch/decode/decoder"}
