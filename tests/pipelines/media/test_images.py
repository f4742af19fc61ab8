"""Still and animated images: turned upright, converted to RGB, scaled, refused when too large."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

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


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_the_readable_rows_of_a_picture_that_is_cut_short_are_looked_at_and_the_rest_is_not_filled(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (kept,), why = until_it_breaks(frames(path, "image", DECODING))
    height = kept.sample.pixels.shape[0]
    assert why == f"it is cut short: {height // 2} % of it could be read" and 120 < height < 140
    seen = np.array(kept.part) * 200
    assert (seen[1], seen[3]) == ((200 - height, 200) if suffix == "bmp" else (0, height))  # a BMP begins at the bottom
    if suffix != "jpg":
        assert (kept.sample.pixels == noise[round(seen[1]) : round(seen[3])]).all()
    assert kept.sample.pixels[-1].std() > 20


def test_the_readable_part_of_a_picture_that_is_turned_lies_where_its_rows_are_shown(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    turned = Image.Exif()
    for orientation, side in ((3, 1), (6, 2), (8, 0)):
        turned[0x0112] = orientation
        path = save(tmp_path / f"{orientation}.jpg", noise, exif=turned)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        (kept,), _ = until_it_breaks(frames(path, "image", DECODING))
        missing = [kept.part[0], kept.part[1], 1 - kept.part[2], 1 - kept.part[3]]
        assert [share > 0.3 for share in missing] == [edge == {1: 1, 2: 0, 0: 2}[side] for edge in range(4)]


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("jpg", {"progressive": True})])
def test_a_picture_that_is_stored_coarse_to_fine_is_looked_at_whole_when_it_is_cut_short(tmp_path, suffix, options):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    path = save(tmp_path / f"a.{suffix}", noise, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (kept,), why = until_it_breaks(frames(path, "image", DECODING))
    assert why == "it is cut short: what could be read of it was looked at"
    assert kept.sample.pixels.shape == (200, 300, 3)


def test_a_picture_of_which_nothing_can_be_read_is_an_error(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    for suffix, part in (("jpg", 0.01), ("png", 0.01), ("webp", 0.6), ("avif", 0.6)):
        path = save(tmp_path / f"a.{suffix}", noise)
        path.write_bytes(path.read_bytes()[: max(700, int(path.stat().st_size * part))])
        kept, why = until_it_breaks(frames(path, "image", DECODING))
        assert not kept and "damaged" in why, suffix


def test_a_png_with_notes_larger_than_pillow_reads_keeps_its_picture(tmp_path):
    notes = PngInfo()
    notes.add_text("prompt", "a" * 5_000_000, zip=True)
    path = save(tmp_path / "before.png", solid(RED), pnginfo=notes)
    assert near(image_of(path)[60, 80], RED)
    content = save(tmp_path / "a.png", solid(RED)).read_bytes()
    note = b"prompt\0\0" + zlib.compress(b"a" * 5_000_000)
    chunk = struct.pack(">I", len(note)) + b"zTXt" + note + struct.pack(">I", zlib.crc32(b"zTXt" + note))
    (tmp_path / "after.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert near(image_of(tmp_path / "after.png")[60, 80], RED)
    many = PngInfo()
    for number in range(70):
        many.add_text(f"note {number}", "b" * 1_000_000, zip=True)
    assert near(image_of(save(tmp_path / "many.png", solid(BLUE), pnginfo=many))[60, 80], BLUE)


def test_broken_metadata_do_not_lose_the_picture(tmp_path):
    for suffix in ("jpg", "png", "webp"):
        path = save(
            tmp_path / f"a.{suffix}", solid(RED), exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage", icc_profile=b"no"
        )
        assert near(image_of(path)[60, 80], RED), suffix


def test_the_values_of_a_sensor_in_a_picture_of_16_bits_are_stretched(tmp_path):
    values = np.full((60, 90), 850, np.uint16)
    values[20:40, 30:60] = 100
    for path in (save(tmp_path / "a.png", Image.fromarray(values)), save(tmp_path / "a.tif", Image.fromarray(values))):
        pixels = image_of(path)
        assert near(pixels[5, 5], WHITE) and near(pixels[30, 45], (0, 0, 0)), path


def test_light_content_on_transparency_is_looked_at_on_black_too(tmp_path):
    clear = Image.new("RGBA", (300, 200), (255, 255, 255, 0))
    ImageDraw.Draw(clear).text((20, 50), "VISIBLE", "white", ImageFont.load_default(size=48))
    on_white, on_black = frames(save(tmp_path / "a.png", clear), "image", DECODING)
    assert on_white.sample.pixels.min() == 255 and on_white.note is None
    assert on_black.sample.pixels.min() == 0 and on_black.sample.pixels.max() == 255 and on_black.note == "on black"


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


def test_each_page_of_a_tiff_is_looked_at_and_says_its_number(tmp_path):
    path = save(tmp_path / "a.tif", solid(RED), save_all=True, append_images=[solid(BLUE, 40, 90), solid(GREEN)])
    first, second, third = frames(path, "image", DECODING, with_thumbnail=True)
    assert [page.note for page in (first, second, third)] == [None, "page 2", "page 3"]
    assert second.sample.pixels.shape == (90, 40, 3) and near(second.sample.pixels[5, 5], BLUE)
    assert first.thumbnail and not second.thumbnail


def test_a_file_says_how_many_of_its_pages_were_not_looked_at(tmp_path):
    path = save(tmp_path / "a.tif", solid(RED, 8, 8), save_all=True, append_images=[solid(BLUE, 8, 8)] * 104)
    kept, why = until_it_breaks(frames(path, "image", DECODING))
    assert len(kept) == 100 and why == "it has 105 pages, of which 100 were looked at"


def test_a_page_with_too_many_pixels_is_left_out_and_named(tmp_path):
    path = save(tmp_path / "a.tif", solid(RED), save_all=True, append_images=[solid(BLUE, 400, 300), solid(GREEN)])
    kept, why = until_it_breaks(frames(path, "image", Decoding(max_pixels=20_000)))
    assert [page.note for page in kept] == [None, "page 3"]
    assert why == "page 2: it declares 400 x 300 pixels; decoding.max_pixels allows 20,000"


def test_the_second_picture_of_an_mpo_is_looked_at(tmp_path):
    path = save(tmp_path / "a.mpo", solid(RED), save_all=True, append_images=[solid(BLUE)]).rename(tmp_path / "a.jpg")
    first, second = frames(path, "image", DECODING)
    assert near(first.sample.pixels[5, 5], RED) and near(second.sample.pixels[5, 5], BLUE)
    assert (first.note, second.note) == (None, "picture 2")


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
