"""Colours of high dynamic range, captions that are pictures, covers of films, and what edit lists hide."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition

from pipelines.media import decoding
from pipelines.media.films import tone_mapping
from pipelines.media.films.captions import _ink, unread
from pipelines.media.films.edit_lists import hidden
from pipelines.media.segments import segments
from tests.support.files.captions import captioned, trimmed
from tests.support.media import BLUE, DECODING, GREEN, RED, Decoding, film, near, solid, until_it_breaks


def code(nits: float) -> int:
    """A light as PQ codes it in 16 bits (SMPTE ST 2084)."""
    power = (nits / 10_000) ** 0.1593017578125
    return round(65535 * ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


@pytest.mark.parametrize(
    ("nits", "value"), [(0.0, 0), (0.18 * 203, 118), (0.5 * 203, 188), (203, 237), (1000, 255), (10_000, 255)]
)
def test_light_of_pq_is_shown_as_a_screen_shows_it_and_highlights_are_compressed(nits, value):
    grey = np.full((2, 3, 3), code(nits), np.uint16)
    shown = tone_mapping.tone_mapped(grey, tone_mapping.PQ, 9)
    assert near(shown[1, 2], (value,) * 3, 3)


def test_the_colours_of_wide_primaries_become_those_of_a_screen():
    wide = np.array([[[code(203), code(0), code(0)]]], np.uint16)  # a red that no screen of BT.709 shows
    assert near(tone_mapping.tone_mapped(wide, tone_mapping.PQ, 9)[0, 0], (250, 0, 0), 10)


def hdr(path: Path, transfer: int, luma: int) -> Path:
    """A film of one grey, luma of 10 bits."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx265", rate=10, options={"x265-params": "log-level=error"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p10le"
        context = video.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, level in zip(frame.planes, (luma, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, level, "<u2").tobytes())
        for n in range(3):
            frame.pts, frame.time_base = n, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize(("transfer", "name"), [(16, "pq"), (18, "hlg")])
def test_a_film_of_high_dynamic_range_is_not_pale(tmp_path, transfer, name):
    luma = {"pq": 64 + round(876 * code(203) / 65535), "hlg": 64 + round(876 * 0.75)}[name]  # a white page
    (first, *_) = decoding.frames(hdr(tmp_path / f"{name}.mp4", transfer, luma), "video", DECODING)
    assert near(first.sample.pixels[32, 32], (237, 237, 237), 8)


def test_captions_that_are_pictures_are_black_on_white_and_have_their_time_and_track(tmp_path):
    path = captioned(tmp_path / "a.mkv", (0.5, 1.5, "HARBOUR"), (2.0, 3.0, "GATE"))
    found = [frame for frame in decoding.frames(path, "video", DECODING) if frame.is_caption]
    shown = [frame.sample for frame in found]
    assert [round(sample.time_s, 1) for sample in shown] == [0.5, 2.0]
    assert {sample.track for sample in shown} == {"subtitle pictures 1 (eng)"}
    assert all(set(np.unique(sample.pixels)) == {0, 255} for sample in shown)
    widths = [np.ptp(np.nonzero(sample.pixels[..., 0] == 0)[1]) for sample in shown]
    assert widths[0] > 1.5 * widths[1] > 100


def test_each_caption_belongs_to_one_segment(tmp_path):
    cues = [(n * 0.7 + 0.2, n * 0.7 + 0.8, f"LINE {n}") for n in range(10)]
    path = captioned(tmp_path / "a.mkv", *cues, seconds=8)
    parts = segments(path, Decoding(segment_s=2))
    of_parts = [
        frame.sample.time_s
        for part in parts
        for frame in decoding.frames(path, "video", DECODING, part)
        if frame.is_caption
    ]
    assert len(parts) > 1 and np.allclose(of_parts, [begin for begin, _, _ in cues], atol=0.01)


def test_subtitles_without_a_decoder_are_named():
    teletext = SimpleNamespace(codec_context=None, language="deu")
    streams = SimpleNamespace(subtitles=[teletext])
    assert unread(SimpleNamespace(streams=streams)) == ["subtitle track 1 (deu)"]


def test_letters_are_told_from_their_outline_and_from_the_ground():
    indices = np.full((40, 60), 9, np.uint8)  # the ground need not be colour 0
    indices[8:32, 8:52] = 3
    indices[12:28, 12:48] = 7
    assert (_ink(indices) == (indices == 7)).all()
    indices[indices == 3] = 7
    assert (_ink(indices) == (indices == 7)).all()


def with_cover(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        cover = out.add_stream("mjpeg", rate=1)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        for _ in range(5):
            out.mux(video.encode(av.VideoFrame.from_image(solid(RED, 64, 64))))
        out.mux(video.encode(None))
        out.mux(cover.encode(av.VideoFrame.from_image(solid(BLUE, 64, 64)).reformat(format="yuvj420p")))
        out.mux(cover.encode(None))
    return path


def test_the_cover_of_a_film_is_looked_at_as_a_part_of_it(tmp_path):
    found = list(decoding.frames(with_cover(tmp_path / "a.mp4"), "video", DECODING))
    assert near(found[0].sample.pixels[30, 30], RED) and found[0].sample.time_s == 0
    assert near(found[-1].sample.pixels[30, 30], BLUE) and found[-1].note == "on the cover"
    assert found[-1].sample.time_s is None


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_what_an_edit_list_hides_is_told(tmp_path, suffix):
    pictures = [solid(color) for color in (RED, GREEN, BLUE) for _ in range(10)]
    whole = film(tmp_path / f"whole.{suffix}", pictures, sound_hz=440, gop=10)
    for kind in ("video", "sound"):
        with whole.open("rb") as file:
            assert hidden(file, kind) == []
    path = trimmed(tmp_path / f"trimmed.{suffix}", whole, 2.0)
    found, reason = until_it_breaks(decoding.frames(path, "video", DECODING))
    assert near(found[0].sample.pixels[60, 80], BLUE)
    assert reason.endswith("its edit list hides 0.0 to 2.0 s of its video: that was not analysed")
    assert "0.0 to 2.0 s of its sound" in until_it_breaks(decoding.sound(path, DECODING))[1]


@pytest.mark.parametrize("content", [b"", b"\0\0\0\x08moov", b"\0\0\0\x10moov\0\0\0\x10elst", bytes(100), b"RIFF" * 9])
def test_other_and_broken_files_hide_nothing(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file:
        assert hidden(file, "video") == []
