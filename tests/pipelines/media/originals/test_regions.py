"""Regions of originals: cut with all pixels, upright, of the frame that a film shows at a second."""

import io

import pytest
from PIL import Image

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.originals.regions import region
from pipelines.media.pool import Decoder
from tests.support.media import BLUE, GREEN, RED, film, near, save, solid

SMALL = Decoding(max_side_px=64)  # a whole picture would be scaled to it


def cut(source, box, kind="image", at_s=0.0):
    (png,) = region(source, kind, box, at_s, SMALL)
    return Image.open(io.BytesIO(png))


def test_a_region_has_the_pixels_of_the_original(tmp_path):
    picture = Image.new("RGB", (1000, 600), RED)
    for x in range(500, 540, 2):  # stripes of a pixel: scaled down they would be one colour
        picture.paste(GREEN, (x, 300, x + 1, 340))
    part = cut(save(tmp_path / "a.png", picture), (0.5, 0.5, 0.54, 0.56))
    assert part.size == (40, 36) and part.format == "PNG"
    assert [part.getpixel((x, 20)) for x in range(4)] == [GREEN, RED, GREEN, RED]


def test_a_large_region_is_scaled_as_detectors_get_it(tmp_path):
    assert cut(save(tmp_path / "a.png", Image.new("RGB", (1000, 500), RED)), (0, 0, 1, 1)).size == (64, 32)


def test_a_region_is_of_the_upright_picture(tmp_path):
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(BLUE, (0, 0, 20, 20))  # its left half, which is the upper one when it is turned
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upper = cut(tmp_path / "a.jpg", (0, 0, 1, 0.4))
    assert upper.size == (20, 16) and near(upper.getpixel((10, 8)), BLUE)
    assert not upper.getexif()


def test_a_region_of_a_film_is_of_the_frame_that_it_shows(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 10 + [solid(BLUE)] * 10)
    for at_s, color in ((0.0, RED), (0.95, RED), (1.05, BLUE), (1.9, BLUE)):
        part = cut(path, (0.25, 0.25, 0.75, 0.75), "video", at_s)
        assert near(part.getpixel((part.width // 2, part.height // 2)), color, 30), at_s


def test_a_tiny_region_and_a_film_without_a_frame_say_why(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (100, 20), RED))
    with pytest.raises(MediaError, match="has 1 x 20 pixels"):
        cut(path, (0.5, 0, 0.505, 1))
    with pytest.raises(MediaError):
        cut(film(tmp_path / "a.mp4", [solid(RED)] * 5), (0, 0, 1, 1), "video", 99.0)


def test_a_child_process_cuts_a_region(tmp_path):
    path = save(tmp_path / "a.png", Image.new("RGB", (100, 60), GREEN))
    with Decoder() as decoder:
        png = decoder.region(path, "image", (0, 0, 0.5, 0.5), 0.0, Decoding())
    assert Image.open(io.BytesIO(png)).size == (50, 30)
