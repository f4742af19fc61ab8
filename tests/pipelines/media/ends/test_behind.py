"""Files behind other files, and recordings whose end is missing: looked at, or said."""

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from pipelines.media.decoding import frames, sniff, sound
from tests.support.media import BLUE, DECODING, GREEN, RED, film, near, save, solid, song, until_it_breaks, wav


def coded(color: tuple[int, int, int], form: str, **options) -> bytes:
    file = io.BytesIO()
    solid(color).save(file, form, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("a.png", coded(BLUE, "PNG"))
    return file.getvalue()


def looked_at(path: Path, content: bytes) -> tuple[list[tuple[str, str | None]], str]:
    """(colour, note) of each frame of a file, and the reason after them."""
    path.write_bytes(content)
    found, reason = until_it_breaks(frames(path, sniff(path), DECODING))
    names = {"red": RED, "green": GREEN, "blue": BLUE}
    pixels = [frame.sample.pixels[60, 80] for frame in found]
    return [
        (next(name for name, color in names.items() if near(pixel, color)), frame.note)
        for pixel, frame in zip(pixels, found, strict=True)
    ], reason


BEHIND = "in a picture behind the end of the file"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"])
def test_a_picture_behind_another_one_is_looked_at(tmp_path, form):
    content = coded(RED, form) + coded(BLUE, "PNG")
    assert looked_at(tmp_path / "a", content) == ([("red", None), ("blue", BEHIND)], "")


def test_all_pictures_of_a_raw_stream_of_jpegs_are_looked_at(tmp_path):
    content = b"".join(coded(color, "JPEG") for color in (RED, GREEN, BLUE))
    assert looked_at(tmp_path / "a.mjpeg", content) == ([("red", None), ("green", BEHIND), ("blue", BEHIND)], "")


def test_what_is_appended_to_a_file_that_was_just_looked_at_is_found(tmp_path):
    first, second = coded(RED, "JPEG"), coded(BLUE, "JPEG")
    assert looked_at(tmp_path / "a.jpg", first)[0] == [("red", None)]
    assert [colour for colour, _ in looked_at(tmp_path / "a.jpg", first + second)[0]] == ["red", "blue"]


def test_what_a_file_has_itself_is_not_looked_at_twice(tmp_path):
    two = coded(RED, "MPO", save_all=True, append_images=[solid(BLUE)])
    assert looked_at(tmp_path / "a.jpg", two) == ([("red", None), ("blue", "picture 2")], "")
    path = film(tmp_path / "a.mp4", [solid(BLUE)])
    motion = coded(RED, "JPEG") + path.read_bytes()
    assert looked_at(tmp_path / "b.jpg", motion) == ([("red", None), ("blue", "in the film of the motion photo")], "")
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "a note with \xff\xd9 in it"
    assert looked_at(tmp_path / "c.jpg", coded(RED, "JPEG", exif=thumbnail) + bytes(9000)) == ([("red", None)], "")


def test_a_second_film_behind_a_picture_is_looked_at(tmp_path):
    films = [film(tmp_path / f"{n}.mp4", [solid(color)]).read_bytes() for n, color in enumerate((BLUE, GREEN))]
    found, reason = looked_at(tmp_path / "a.jpg", coded(RED, "JPEG") + films[0] + films[1])
    assert [color for color, _ in found] == ["red", "blue", "green"] and not reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF"])
def test_an_archive_behind_a_picture_is_said(tmp_path, form):
    found, reason = looked_at(tmp_path / "a", coded(RED, form) + zipped())
    assert found == [("red", None)]
    assert reason == f"a file (container, {len(zipped())} bytes) lies behind its end, which was not looked at"


def test_what_lies_behind_a_film_is_looked_at_or_said(tmp_path):
    first, second = (film(tmp_path / f"{n}.mp4", [solid(c)]).read_bytes() for n, c in enumerate((RED, BLUE)))
    found, reason = looked_at(tmp_path / "a.mp4", first + second + zipped())
    assert found == [("red", None), ("blue", "in a film behind the end of the file")]
    assert "a file (container" in reason


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("flv", "flv"), ("ts", "libx264")],
)
def test_a_recording_with_sound_that_is_cut_short_says_so(tmp_path, suffix, codec):
    noise = [Image.effect_noise((160, 120), 60).convert("RGB") for _ in range(40)]
    path = film(tmp_path / f"a.{suffix}", noise, codec=codec)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10 // 188 * 188 + 100])  # within a packet of MPEG-TS
    found, reason = until_it_breaks(frames(path, "video", DECODING))
    assert found and "cut short" in reason


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("caf", "pcm_s16be"), ("mka", "aac"),
                          ("mp3", "libmp3lame"), ("opus", "libopus"), ("au", "pcm_s16be")]
)  # fmt: skip
def test_sound_that_is_cut_short_says_so(tmp_path, suffix, codec):
    path = song(tmp_path / f"a.{suffix}", codec, rate=48_000, seconds=2)
    content = path.read_bytes()
    assert until_it_breaks(sound(path, DECODING))[1] == ""
    path.write_bytes(content[: len(content) * 6 // 10])
    found, reason = until_it_breaks(sound(path, DECODING))
    assert found and "cut short" in reason


def test_a_recording_behind_a_sound_is_said(tmp_path):
    content = wav(np.ones(16_000, np.int16), 16_000)
    (tmp_path / "a.wav").write_bytes(content + content)
    found, reason = until_it_breaks(sound(tmp_path / "a.wav", DECODING))
    assert len(found) == 1 and reason == "a file (audio, 32,044 bytes) lies behind its end, which was not looked at"


def test_a_size_that_the_program_did_not_know_yet_is_no_missing_end(tmp_path):
    content = wav(np.ones(16_000, np.int16), 16_000)
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        (tmp_path / "a.wav").write_bytes(content[:4] + size + content[8:40] + size + content[44:])
        assert until_it_breaks(sound(tmp_path / "a.wav", DECODING))[1] == ""


def test_a_picture_keeps_its_tiles_and_thumbnail(tmp_path):
    path = save(tmp_path / "a.png", solid(RED))
    (frame,) = frames(path, "image", DECODING, with_thumbnail=True)
    assert frame.thumbnail and frame.note is None
