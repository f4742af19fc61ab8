"""What a picture's file holds besides what it shows: small pictures, layers, hidden colours, more than 8 bits."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from pipelines.media.decoding import frames
from tests.support.media import BLUE, DECODING, GREEN, RED, image_of, near, psd, save, solid, times, until_it_breaks


def shown(path: Path) -> list[tuple[str, str | None]]:
    """(colour, note) of each frame."""
    names = {"red": RED, "green": GREEN, "blue": BLUE}
    return [
        (next(name for name, color in names.items() if near(f.sample.pixels.mean((0, 1)), color, by=30)), f.note)
        for f in frames(path, "image", DECODING)
    ]


def with_thumbnail(picture: Image.Image, small: Image.Image) -> bytes:
    """A JPEG whose EXIF header has a small picture, as cameras write it."""
    files = [io.BytesIO(), io.BytesIO()]
    for file, image in zip(files, (picture, small), strict=True):
        image.save(file, "JPEG")
    jpeg, thumbnail = (file.getvalue() for file in files)
    at = 8 + 2 + 4 + 2 + 36 + 4
    entries = [(0x103, 3, 1, 6), (0x201, 4, 1, at), (0x202, 4, 1, len(thumbnail))]
    header = b"II*\0\x08\0\0\0" + struct.pack("<HIH", 0, 14, 3)
    header += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4) + thumbnail
    exif = b"Exif\0\0" + header
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_a_small_picture_in_the_header_is_looked_at_if_it_shows_something_else(tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_thumbnail(solid(RED, 640, 480), solid(BLUE)))
    assert shown(tmp_path / "a.jpg") == [("red", None), ("blue", "a small picture in the header")]
    (tmp_path / "b.jpg").write_bytes(with_thumbnail(solid(RED, 640, 480), solid(RED)))
    assert shown(tmp_path / "b.jpg") == [("red", None)]


def test_further_pictures_of_icons_and_tiffs_are_looked_at(tmp_path):
    solid(RED, 64, 64).save(tmp_path / "a.ico", sizes=[(64, 64), (32, 32)], append_images=[solid(BLUE, 32, 32)])
    assert shown(tmp_path / "a.ico") == [("red", None), ("blue", "size 32 x 32")]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.asarray(solid(RED)), subifds=1)
        file.write(np.asarray(solid(BLUE)))
    assert shown(tmp_path / "a.tif") == [("red", None), ("blue", "a small picture in the header")]


def test_a_deep_picture_with_smaller_ones_in_its_file_is_looked_at(tmp_path):
    deep = np.linspace(0, 60_000, 160 * 120).reshape(120, 160).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(deep, subifds=1, photometric="minisblack")
        file.write(deep[::2, ::2], photometric="minisblack")
    found, reason = until_it_breaks(frames(tmp_path / "a.tif", "image", DECODING))
    assert len(found) == 1 and not reason


def test_the_layers_of_a_photoshop_file_are_looked_at(tmp_path):
    flat = psd(solid(RED, 64, 48))
    channels = b"".join(b"\0\0" + bytes([value]) * (64 * 48) for value in BLUE)
    record = struct.pack(">4iH", 0, 0, 48, 64, 3)
    record += b"".join(struct.pack(">hI", n, 2 + 64 * 48) for n in range(3))
    record += b"8BIMnorm" + struct.pack(">BBBB", 255, 0, 0, 0) + struct.pack(">III", 12, 0, 0) + b"\3map"
    layers = struct.pack(">h", 1) + record + channels
    layers += b"\0" * (len(layers) % 2)
    section = struct.pack(">I", len(layers)) + layers
    (tmp_path / "a.psd").write_bytes(flat[:34] + struct.pack(">I", len(section)) + section + flat[38:])
    assert shown(tmp_path / "a.psd") == [("red", None), ("blue", "layer 1 (map)")]


def writing(ink: tuple[int, ...], paper: tuple[int, ...]) -> Image.Image:
    picture = Image.new("RGBA", (320, 180), paper)
    ImageDraw.Draw(picture).text((160, 90), "ALMOND", ink, font_size=48, anchor="mm")
    return picture


def test_colours_that_transparency_hides_are_looked_at(tmp_path):
    hidden = np.array(writing((0, 0, 0, 255), (220, 220, 220, 255)))
    hidden[..., 3] = 0
    save(tmp_path / "a.png", Image.fromarray(hidden))
    found = list(frames(tmp_path / "a.png", "image", DECODING))
    assert [frame.note for frame in found] == [None, "without its transparency"]
    assert np.ptp(found[0].sample.pixels) == 0 and np.ptp(found[1].sample.pixels) == 220
    save(tmp_path / "b.png", writing((0, 0, 0, 255), (255, 255, 255, 0)))  # nothing is hidden
    assert len(list(frames(tmp_path / "b.png", "image", DECODING))) == 1


@pytest.mark.parametrize("suffix", ["webp", "png", "gif", "avif"])
def test_white_writing_in_an_animation_on_nothing_is_seen(tmp_path, suffix):
    pictures = [writing((shade, shade, shade, 255), (255, 255, 255, 0)) for shade in (255, 225)]
    options = {"lossless": True} if suffix == "webp" else {}
    save(tmp_path / f"a.{suffix}", pictures[0], save_all=True, append_images=pictures[1:], duration=1000, **options)
    found = list(frames(tmp_path / f"a.{suffix}", "image", DECODING))
    assert len(found) == 2 and all(np.ptp(frame.sample.pixels) > 200 for frame in found)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_dim_colours_of_16_bits_are_seen(tmp_path, name, channels):
    letters = np.asarray(writing((0, 0, 0, 255), (255, 255, 255, 255)))[..., :3]
    values = np.where(letters > 128, 900, 100).astype(np.uint16)
    if channels == 4:
        values = np.dstack([values, np.full(values.shape[:2], 0xFFFF, np.uint16)])
    cv2.imwrite(str(tmp_path / name), values)
    pixels = image_of(tmp_path / name)
    assert pixels.min() < 10 and pixels.max() > 245


@pytest.mark.parametrize("odd", [np.inf, np.nan, 1e9])
def test_one_odd_value_does_not_darken_a_picture_of_floats(tmp_path, odd):
    letters = np.asarray(writing((0, 0, 0, 255), (255, 255, 255, 255)))[..., 0] / np.float32(255)
    letters[0, 0] = odd
    tifffile.imwrite(tmp_path / "a.tif", letters)
    pixels = image_of(tmp_path / "a.tif")
    assert np.median(pixels) > 245 and (pixels < 10).sum() > 300


def test_the_pages_before_the_cut_of_a_tiff_are_looked_at(tmp_path):
    noise = [Image.effect_noise((200, 150), 60) for _ in range(4)]
    path = save(tmp_path / "a.tif", noise[0], save_all=True, append_images=noise[1:])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found, reason = until_it_breaks(frames(path, "image", DECODING))
    assert len(found) >= 2 and "after page" in reason


def test_a_picture_that_stands_between_two_cuts_is_seen(tmp_path):
    pictures = [solid(color) for color in (RED, GREEN, BLUE)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 500, 3000])
    found = list(frames(tmp_path / "a.gif", "image", DECODING))
    assert times(found)[:3] == [0, 0.1, 0.6] and near(found[1].sample.pixels[60, 80], GREEN)
