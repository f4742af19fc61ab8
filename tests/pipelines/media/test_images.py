"""Still and animated images: turned upright, converted to RGB, scaled, refused when too large."""

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cluster.settings import Decoding
from pipelines.media.decoding import frames, probe
from tests.support.media import (
    BLUE,
    DECODING,
    GREEN,
    RED,
    WHITE,
    film,
    image_of,
    near,
    png,
    reason,
    save,
    solid,
    times,
    until_it_breaks,
)


def test_a_picture_is_turned_by_its_exif_orientation(tmp_path):
    image = solid(RED, 80, 40)
    image.paste(BLUE, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    for path in (tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "a.webp", tmp_path / "a.tif"):
        save(path, image, exif=exif, **({} if path.suffix == ".tif" else {"quality": 95}))
        assert (probe(path, "image", DECODING).width, probe(path, "image", DECODING).height) == (40, 80), path
        pixels = image_of(path)
        assert pixels.shape == (80, 40, 3) and near(pixels[4, 35], BLUE, by=40) and near(pixels[60, 20], RED, by=40)


def test_every_mode_becomes_rgb(tmp_path):
    grey16 = Image.fromarray(np.full((20, 30), 0x8000, np.uint16))
    assert near(image_of(save(tmp_path / "16.png", grey16))[5, 5], (128, 128, 128))
    assert near(image_of(save(tmp_path / "16.tif", grey16))[5, 5], (128, 128, 128))
    ramp = Image.fromarray(np.tile(np.linspace(-3, 9, 30, dtype=np.float32), (20, 1)))
    assert image_of(save(tmp_path / "f.tif", ramp))[5, [0, 29], 0].tolist() == [0, 255]
    assert near(image_of(save(tmp_path / "1.png", Image.new("1", (30, 20), 1)))[5, 5], WHITE)
    assert near(image_of(save(tmp_path / "p.png", solid(GREEN).convert("P")))[5, 5], GREEN, by=40)
    assert near(image_of(save(tmp_path / "cmyk.jpg", solid(GREEN).convert("CMYK")))[5, 5], GREEN, by=40)


def test_transparent_pixels_become_white(tmp_path):
    clear = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    clear.paste((*RED, 255), (0, 0, 10, 20))
    paths = [save(tmp_path / f"rgba.{suffix}", clear) for suffix in ("png", "gif", "webp")]
    paths.append(save(tmp_path / "la.png", clear.convert("LA")))
    for path in paths:
        assert near(image_of(path)[10, 25], WHITE), path
        assert not near(image_of(path)[10, 4], WHITE), path


def test_a_large_picture_is_scaled_down(tmp_path):
    path = save(tmp_path / "a.jpg", solid(BLUE, 3000, 1000))
    assert image_of(path, Decoding(max_side_px=600)).shape == (200, 600, 3)
    assert (probe(path, "image", DECODING).width, probe(path, "image", DECODING).height) == (3000, 1000)


def test_a_truncated_picture_is_an_error_and_not_filled_with_grey(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    for suffix in ("jpg", "png", "gif", "webp", "tif", "bmp"):
        path = save(tmp_path / f"a.{suffix}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        assert "damaged" in reason(lambda path=path: list(frames(path, "image", DECODING))), suffix


def test_a_picture_that_declares_too_many_pixels_is_refused_by_its_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png(30_000, 30_000, b""))
    says = "it declares 30,000 x 30,000 pixels; decoding.max_pixels allows 200,000,000"
    assert reason(lambda: probe(tmp_path / "a.png", "image", DECODING)) == says
    assert reason(lambda: list(frames(tmp_path / "a.png", "image", DECODING))) == says


def test_decoding_max_pixels_applies_instead_of_pillows_limit(tmp_path):
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000, zlib.compress(bytes(10_001 * 10_000), 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_of(tmp_path / "a.png").shape == (1600, 1600, 3)
    assert Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < 10_000 * 10_000


def test_an_animated_picture_is_sampled_like_a_video(tmp_path):
    shown = [solid(RED), solid(RED), solid(GREEN), solid(BLUE)]
    for index, picture in enumerate(shown):
        ImageDraw.Draw(picture).rectangle((index, 0, index, 2), fill=WHITE)  # all different, so that none are merged
    for suffix in ("gif", "webp", "png"):
        path = save(tmp_path / f"a.{suffix}", shown[0], save_all=True, append_images=shown[1:], duration=600)
        found = list(frames(path, "image", DECODING))
        assert times(found) == [0.0, 0.6, 1.2, 1.8], suffix  # 0.6 is shown at 1 s; the others begin shots
        assert near(found[2].sample.pixels[60, 80], GREEN, by=30)


def test_only_the_first_of_several_pages_is_analysed_and_the_result_says_so(tmp_path):
    path = save(tmp_path / "a.tif", solid(RED), save_all=True, append_images=[solid(BLUE)])
    kept, why = until_it_breaks(frames(path, "image", DECODING))
    assert len(kept) == 1 and why == "it has 2 pages, of which only the first was looked at"


@pytest.mark.parametrize(
    ("size", "small"), [((1600, 900), (320, 180)), ((700, 1000), (224, 320)), ((90, 60), (90, 60))]
)
def test_a_thumbnail_is_a_small_jpeg_of_the_whole_picture(tmp_path, size, small):
    picture = solid(RED, *size)
    picture.paste(BLUE, (0, 0, size[0] // 2, size[1]))
    path = save(tmp_path / "a.jpg", picture, comment=b"taken at home", quality=95)
    (frame,) = frames(path, "image", DECODING, with_thumbnail=True)
    thumbnail = Image.open(io.BytesIO(frame.thumbnail))
    assert thumbnail.format == "JPEG" and thumbnail.size == small
    left, right = (np.asarray(thumbnail)[small[1] // 2, small[0] * n // 8] for n in (1, 7))
    assert near(left, BLUE) and near(right, RED)
    assert "comment" not in thumbnail.info
    assert frame.sample.pixels.shape == (size[1], size[0], 3)


def test_a_thumbnail_is_upright(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    path = save(tmp_path / "a.jpg", solid(RED, 1600, 900), exif=turned)
    (frame,) = frames(path, "image", DECODING, with_thumbnail=True)
    assert Image.open(io.BytesIO(frame.thumbnail)).size == (180, 320)


def test_only_the_first_frame_has_a_thumbnail_and_none_where_nobody_asked(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 10 + [solid(BLUE)] * 10)
    first, *others = frames(path, "video", DECODING, with_thumbnail=True)
    assert near(np.asarray(Image.open(io.BytesIO(first.thumbnail)))[60, 80], RED, by=30)
    assert others and all(frame.thumbnail is None for frame in others)
    assert all(frame.thumbnail is None for frame in frames(path, "video", DECODING))
