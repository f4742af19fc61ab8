"""Tiles of large pictures, and the films in motion photos."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from cluster.settings import Decoding
from pipelines.media.decoding import Media, frames, probe, sniff, sound
from pipelines.media.stills import MAX_TILES, grid
from tests.support.media import BLUE, DECODING, GREEN, HEIC, RED, WHITE, film, near, save, solid, times, until_it_breaks

LIMITS = Decoding(max_side_px=100)


def ramp(width: int, height: int) -> Image.Image:
    """Every pixel tells its place: red the column, green the row, in steps of 1/256 of the side."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width) * 256 // width
    pixels[..., 1] = (np.arange(height) * 256 // height)[:, None]
    return Image.fromarray(pixels)


def test_a_picture_that_is_shrunk_much_is_followed_by_tiles_in_full_resolution_where_they_are_wanted(tmp_path):
    path = save(tmp_path / "a.png", ramp(512, 256))
    whole, *tiles = frames(path, "image", LIMITS, with_thumbnail=True, with_tiles=True)
    assert whole.sample.pixels.shape == (50, 100, 3) and not whole.is_tile and whole.thumbnail
    assert len(tiles) == 18 and all(tile.is_tile and tile.thumbnail is None for tile in tiles)
    for tile in tiles:
        left, top, right, bottom = np.array(tile.part) * (512, 256, 512, 256)
        assert tile.sample.pixels.shape == (100, 100, 3) and (right - left, bottom - top) == (100, 100)
        assert tile.sample.pixels[0, 0, :2].tolist() == [left // 2, top]
    assert len(list(frames(path, "image", LIMITS))) == 1


def test_tiles_of_a_turned_picture_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is shown at the right
    path = save(tmp_path / "a.png", ramp(512, 256), exif=exif)
    _, first, *_ = frames(path, "image", LIMITS, with_tiles=True)
    assert first.part == pytest.approx((0, 0, 100 / 256, 100 / 512))
    assert first.sample.pixels[0, 0, :2].tolist() == [0, 255]


def test_a_picture_of_twelve_megapixels_has_no_tiles_and_a_tall_screenshot_has(tmp_path):
    photo = save(tmp_path / "a.jpg", ramp(4000, 3000))
    assert [frame.is_tile for frame in frames(photo, "image", DECODING, with_tiles=True)] == [False]
    tall = save(tmp_path / "a.png", ramp(540, 6000))
    assert [frame.is_tile for frame in frames(tall, "image", DECODING, with_tiles=True)] == [False] + 5 * [True]


def test_tiles_that_show_nothing_are_left_out(tmp_path):
    page = solid(WHITE, 500, 100)
    page.paste(RED, (480, 40, 490, 60))
    _, tile = frames(save(tmp_path / "a.png", page), "image", LIMITS, with_tiles=True)
    assert tile.part == (0.8, 0, 1, 1)


@pytest.mark.parametrize("size", [(12_000, 2000), (14_142, 14_142), (1, 100_000), (100_000, 900), (1601, 1600), (9, 9)])
def test_tiles_cover_the_picture_and_are_bounded_in_number(size):
    tiles = grid(*size, 1600)
    assert len(tiles) <= MAX_TILES
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        assert spans[0][0] == 0 and spans[-1][1] == size[axis]
        assert all(first[1] - second[0] >= 0.14 * 1600 for first, second in pairwise(spans))


@pytest.mark.parametrize("trailer", [b"", b"\0\0\0\x0aMotionPhoto_DataSEFH" + bytes(60) + b"SEFT"])
def test_the_film_behind_a_motion_photo_is_looked_at_and_heard(tmp_path, trailer):
    clip = film(tmp_path / "a.mp4", [solid(GREEN)] * 10 + [solid(BLUE)] * 10, sound_hz=440.0).read_bytes()
    path = save(tmp_path / "a.jpg", solid(RED))
    path.write_bytes(path.read_bytes() + b"MotionPhoto_Data" + clip + trailer)
    assert sniff(path) == "image"
    assert probe(path, None, DECODING) == Media("image", 160, 120, has_sound=True)
    shown, *of_film = frames(path, "image", DECODING)
    assert near(shown.sample.pixels[60, 80], RED) and shown.note is None
    assert times(of_film) == [0.0, 1.0] and near(of_film[1].sample.pixels[60, 80], BLUE, by=25)
    assert {frame.note for frame in of_film} == {"in the film of the motion photo"}
    (heard,) = sound(path, DECODING)
    assert heard.sound.size == pytest.approx(32_000, abs=3000)


def test_the_film_in_a_box_of_a_heic_is_looked_at(tmp_path):
    clip = film(tmp_path / "a.mp4", [solid(GREEN)] * 5).read_bytes()
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC + struct.pack(">I", 8 + len(clip)) + b"mpvd" + clip)
    shown, of_film = frames(path, "image", DECODING)
    assert near(shown.sample.pixels[30, 80], RED, by=16) and near(of_film.sample.pixels[60, 80], GREEN, by=25)
    assert not probe(path, None, DECODING).has_sound and list(sound(path, DECODING)) == []


def test_a_film_that_cannot_be_read_is_named_and_does_not_lose_the_picture(tmp_path):
    clip = film(tmp_path / "a.mp4", [solid(GREEN)] * 5).read_bytes()
    path = save(tmp_path / "a.jpg", solid(RED))
    path.write_bytes(path.read_bytes() + clip[:200])
    kept, why = until_it_breaks(frames(path, "image", DECODING))
    assert len(kept) == 1 and why.startswith("a film lies in it: it is damaged")
