"""Interlaced films: what moves can be read, and what stands still keeps its lines."""

from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from pipelines.media.decoding import frames
from pipelines.media.films.interlacing import without_combs
from tests.support.media import DECODING


def drawn(x: int) -> np.ndarray:
    picture = Image.new("RGB", (640, 360), "white")
    ImageDraw.Draw(picture).text((x, 150), "MOVING", "black", font_size=40)
    ImageDraw.Draw(picture).line((20, 301, 600, 301), "black")  # a thin line on an odd row
    return np.asarray(picture)


def woven(x: int) -> np.ndarray:
    """A frame whose odd rows were taken a moment later."""
    both = drawn(x).copy()
    both[1::2] = drawn(x + 8)[1::2]
    return both


def interlaced(path: Path) -> Path:
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 360, "yuv420p", 8_000_000
        for n in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(woven(20 + 16 * n), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def combs(pixels: np.ndarray) -> int:
    """Pixels of odd rows that differ from both neighbours in the same direction."""
    grey = pixels[100:250, :, 1].astype(int)
    up, down = grey[1:-1:2] - grey[:-2:2], grey[1:-1:2] - grey[2::2]
    return int(((np.minimum(np.abs(up), np.abs(down)) > 60) & ((up > 0) == (down > 0))).sum())


def test_what_moves_in_an_interlaced_film_has_no_combs(tmp_path):
    found = list(frames(interlaced(tmp_path / "a.ts"), "video", DECODING))
    assert combs(woven(20)) > 500 and all(combs(frame.sample.pixels) < 60 for frame in found)


def test_what_stands_still_keeps_its_lines():
    assert (without_combs(drawn(20)) == drawn(20)).all()
