"""Copies of recordings, films and pictures that browsers can show."""

import io
import math
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from cluster.errors import MediaError
from pipelines.media.originals import copies
from pipelines.media.pool import Decoder
from tests.support.media import BLUE, DECODING, GREEN, HEIC, RED, film, near, save, solid, song

BOTH = 'video/mp4; codecs="avc1.4d4028,mp4a.40.2"'


def copied(path: Path, from_s: float = 0.0) -> tuple[str, Any]:
    """The media type of a part, and its file as opened by PyAV."""
    media_type, *pieces = copies.part(path, from_s, DECODING)
    return media_type, av.open(io.BytesIO(b"".join(pieces)))


def shown(copy: Any) -> list[tuple[float, np.ndarray]]:
    """Time and middle pixel of each frame."""
    return [
        (frame.time, frame.to_ndarray(format="rgb24")[frame.height // 2, frame.width // 2])
        for frame in copy.decode(video=0)
    ]


@pytest.fixture(scope="module")
def seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that no browser plays, with a tone: 4 s of red, 4 s of green, 2 s of blue."""
    pictures = [solid(color, 320, 240) for color, frames in ((RED, 40), (GREEN, 40), (BLUE, 20)) for _ in range(frames)]
    return film(tmp_path_factory.mktemp("copies") / "a.avi", pictures, codec="mpeg4", sound_hz=440)


def test_a_part_begins_at_its_second_and_ends_with_the_film(seconds: Path):
    media_type, copy = copied(seconds, 3.0)
    assert media_type == BOTH
    assert [(stream.type, stream.codec_context.name) for stream in copy.streams] == [
        ("video", "h264"),
        ("audio", "aac"),
    ]
    frames = shown(copy)
    assert len(frames) in (70, 71)  # its encoder puts the first frame before the others by two
    for at_s, color in ((0.5, RED), (2.0, GREEN), (6.0, BLUE)):
        assert near(min(frames, key=lambda frame: abs(frame[0] - at_s))[1], color, 30), at_s
    copy.seek(0)
    assert sum(frame.samples for frame in copy.decode(audio=0)) / 48_000 == pytest.approx(7.0, abs=0.1)


def test_a_part_lasts_half_a_minute_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "PART_S", 2.0)
    pictures = [solid((n * 5, 100, 100)) for n in range(50)]
    path = film(tmp_path / "a.mkv", pictures, codec="mpeg2video", rate=25)
    first, second, third = (copied(path, from_s) for from_s in (0.0, 1.0, 1.96))
    assert first[0] == 'video/mp4; codecs="avc1.4d4028"'
    reds = [[int(pixel[0]) for _, pixel in shown(copy)] for _, copy in (first, second, third)]
    assert (len(reds[0]), len(reds[1])) == (50, 25)
    assert abs(reds[1][0] - reds[0][25]) < 12 and abs(reds[2][0] - reds[0][49]) < 12


def test_there_is_no_part_behind_the_end(seconds: Path):
    assert list(copies.part(seconds, 10.5, DECODING)) == []


def test_frames_that_stay_long_are_shown_as_long(tmp_path: Path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for time_s, color in ((0, RED), (6, GREEN), (8, BLUE)):
            frame = av.VideoFrame.from_image(solid(color, 64, 48))
            frame.pts = time_s * 10
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, copy = copied(path)
    frames = shown(copy)
    assert near(frames[0][1], RED, 30) and near(frames[50][1], RED, 30) and near(frames[70][1], GREEN, 30)
    assert len(frames) == 81


@pytest.mark.parametrize("codec", ["alac", "wmav2", "ac3"])
def test_a_recording_becomes_sound_alone(tmp_path: Path, codec: str):
    names = {"alac": "a.mov", "wmav2": "a.asf", "ac3": "a.mkv"}
    path = song(tmp_path / names[codec], codec, seconds=3.0)
    media_type, copy = copied(path, 1.0)
    assert media_type == 'audio/mp4; codecs="mp4a.40.2"'
    heard = np.concatenate([frame.to_ndarray()[0] for frame in copy.decode(audio=0)])
    assert len(heard) / 48_000 == pytest.approx(2.0, abs=0.1)
    assert float(np.abs(heard).max()) > 0.05


def test_a_turned_film_is_upright_and_a_large_one_small(tmp_path: Path):
    turned = film(tmp_path / "a.mp4", [solid(RED, 320, 240)] * 5, rotation=90)
    large = film(tmp_path / "b.mp4", [solid(RED, 1930, 1082)] * 3)
    sizes = [(copy.streams.video[0].width, copy.streams.video[0].height) for _, copy in map(copied, (turned, large))]
    assert sizes == [(240, 320), (1280, 718)]


def test_a_damaged_film_is_copied_as_far_as_it_can_be(tmp_path: Path, seconds: Path):
    content = bytearray(seconds.read_bytes())
    content[len(content) // 2 :] = b""
    (tmp_path / "cut.avi").write_bytes(content)
    assert len(shown(copied(tmp_path / "cut.avi")[1])) > 20


def test_what_cannot_be_decoded_says_why(tmp_path: Path):
    save(tmp_path / "a.png", solid(RED))
    with pytest.raises(MediaError, match="it is damaged or not what it says it is"):
        next(copies.part(tmp_path / "a.png", 0.0, DECODING))


@pytest.mark.parametrize(("at_s", "color"), [(0.0, RED), (3.5, RED), (4.5, GREEN), (9.5, BLUE)])
def test_a_frame_is_the_one_that_is_shown_at_its_second(seconds: Path, at_s: float, color: tuple[int, int, int]):
    (jpeg,) = copies.still(seconds, at_s, DECODING)
    assert near(np.asarray(Image.open(io.BytesIO(jpeg)))[120, 160], color, 30)


def test_a_picture_is_an_upright_jpeg_of_limited_size_without_metadata(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    save(tmp_path / "a.tif", solid(RED, 5000, 40), exif=exif, compression="jpeg")
    (tmp_path / "a.heic").write_bytes(HEIC)
    (wide,), (phone,) = (copies.picture(tmp_path / name, DECODING) for name in ("a.tif", "a.heic"))
    assert Image.open(io.BytesIO(phone)).size == (128, 128)
    image = Image.open(io.BytesIO(wide))
    assert max(image.size) == 4096 and not image.getexif()


def test_who_stops_reading_a_part_ends_its_process(seconds: Path):
    with Decoder() as decoder:
        part = decoder.part(seconds, 0.0, DECODING)
        assert next(part) == BOTH
        assert all(isinstance(piece, bytes) for piece in islice(part, 2))
        (child,) = decoder._children
        part.close()
        assert child.process.poll() is not None
        assert math.isclose(
            len(decoder.still(seconds, 1.0, DECODING)), len(decoder.still(seconds, 1.5, DECODING)), rel_tol=0.1
        )
