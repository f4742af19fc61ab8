"""Broken and hostile files end in frames or a MediaError, in bounded time and memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.media import film, save, song
from tests.support.paths import ROOT, SHARED

BADMEDIA = SHARED / "badmedia"


SWEEP = """
import json, resource, sys, time
from contextlib import suppress
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.segments import segments
from pipelines.media.decoding import frames, probe, sniff, sound
done, slowest_s = {"ok": 0, "error": 0}, 0.0
for path in sorted(path for path in Path(sys.argv[1]).rglob("*.*") if path.suffix not in (".md", ".tsv")):
    begun = time.process_time()
    print(path, file=sys.stderr, flush=True)  # a crash is that of the last one
    try:
        kind = sniff(path)
        probe(path, kind, Decoding())
        for found in frames(path, kind, Decoding()):
            assert found.sample.pixels.ndim == 3
        for piece in sound(path, Decoding()) if kind != "image" else ():
            assert piece.sound.ndim == 1
        with suppress(MediaError):
            for part in segments(path, Decoding(segment_s=0.2)):
                for found in frames(path, "video", Decoding(), part):
                    assert found.sample.time_s >= part.begin_s - 1e-6
                for piece in sound(path, Decoding(), part):
                    assert piece.sound.ndim == 1
        done["ok"] += 1
    except MediaError as error:
        assert error.step == "decode" and error.reason
        done["error"] += 1
    slowest_s = max(slowest_s, time.process_time() - begun)
# of this program: ru_maxrss begins at what the process that started it held
peak_mb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
print(json.dumps({**done, "slowest_s": round(slowest_s, 2), "peak_mb": peak_mb}))
"""


def sweep(folder: Path) -> dict[str, float]:
    """Decode every file in one process: any other error, crash or hang fails the test."""
    import json

    child = subprocess.run([sys.executable, "-c", SWEEP, folder], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-3000:]
    found: dict[str, float] = json.loads(child.stdout)
    print(folder.name, found)
    return found


@pytest.mark.ray
@pytest.mark.timeout(320)
@pytest.mark.skipif(not BADMEDIA.is_dir(), reason="the corpus of hostile files is not here")
def test_hostile_files_end_in_frames_or_an_error_in_bounded_time_and_memory():
    found = sweep(BADMEDIA)
    assert found["ok"] + found["error"] == 1525 and found["ok"] > 300
    assert found["slowest_s"] < 10 and found["peak_mb"] < 1500


@pytest.mark.chaos
@pytest.mark.timeout(320)
def test_flipped_bytes_and_cuts_end_in_frames_or_an_error(tmp_path):
    noise = np.random.default_rng(7).integers(0, 255, (8, 48, 64, 3), np.uint8)
    pictures = [Image.fromarray(one) for one in noise]
    whole = [film(tmp_path / name, pictures, codec=codec, gop=3) for name, codec in
             (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
              ("a.flv", "flv"))]  # fmt: skip
    whole += [song(tmp_path / name, codec, 48_000) for name, codec in
              (("b.mp3", "libmp3lame"), ("b.m4a", "aac"), ("b.ogg", "libopus"), ("b.flac", "flac"))]  # fmt: skip
    whole += [save(tmp_path / f"c.{suffix}", pictures[0], save_all=True, append_images=pictures[1:4])
              for suffix in ("gif", "webp", "png", "tif", "avif")]  # fmt: skip
    rng = np.random.default_rng(11)
    variants = tmp_path / "variants"
    variants.mkdir()
    for path in whole:
        for number in range(40):
            content = bytearray(path.read_bytes())
            reach = 400 if number % 2 else len(content)  # parsers read the first bytes
            for at in rng.integers(0, min(reach, len(content)), 1 + number % 8):
                content[at] = rng.integers(0, 256)
            if number % 5 == 0:
                del content[rng.integers(1, len(content)) :]
            (variants / f"{number}.{path.name}").write_bytes(content)
    found = sweep(variants)
    assert found["ok"] + found["error"] == 40 * len(whole) and found["error"] > 100
    assert found["slowest_s"] < 10 and found["peak_mb"] < 1500
