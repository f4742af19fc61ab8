"""No broken file in a gallery keeps a detector from starting, or from using the other files."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cluster.errors import SettingsError
from cluster.records import Sample
from deployments.detectors.face import Face, FaceConfig, Found
from deployments.detectors.logo import Logo, LogoConfig
from deployments.galleries.pictures import UnusablePicture, decode
from deployments.galleries.references import Exemplars
from deployments.galleries.store import Flaw, Gallery

BOX = (0.1, 0.1, 0.5, 0.5)


def encoded(picture, format="PNG", **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def noise(side=64, mode="RGB"):
    pixels = np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def claimed(width, height):
    """A PNG of a few bytes whose header claims so many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


WHOLE = encoded(noise())
BROKEN = {
    "a truncated PNG": WHOLE[: len(WHOLE) // 2],
    "a truncated JPEG": encoded(noise(), "JPEG")[:900],
    "a truncated WebP": encoded(noise(), "WEBP")[:900],
    "a truncated BMP": encoded(noise(), "BMP")[:900],
    "a PNG with flipped bytes": WHOLE[:60] + bytes(b ^ 0xFF for b in WHOLE[60:200]) + WHOLE[200:],
    "a header alone": WHOLE[:20],
    "an empty file": b"",
    "a text": b"Dear reader",
    "a web page": b"<!doctype html><title>404</title>",
    "a decompression bomb": claimed(30_000, 30_000),
    "more pixels than are allowed": claimed(12_000, 9_000),
    "no pixels": claimed(0, 0),
}


@pytest.fixture(params=BROKEN)
def folder(request, tmp_path):
    """A gallery with one file that is broken in one way, first in order, and one intact file."""
    for name, content in (("a broken one", BROKEN[request.param]), ("b whole", WHOLE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "picture.png").write_bytes(content)
    return tmp_path


def test_logo_starts_and_uses_the_others(folder, caplog):
    detector = Logo(LogoConfig(gallery=str(folder), word_letters=1))
    shown = Image.new("RGB", (300, 300), "grey")
    shown.paste(noise().resize((128, 128)), (40, 40))
    found = detector.detect([Sample(text="a broken one, b whole"), Sample(pixels=np.asarray(shown))])
    assert [[detection.label for detection in detections] for detections in found] == [["b whole"], ["b whole"]]
    assert "a broken one/picture.png" in caplog.text and "is not used" in caplog.text


def test_face_starts_and_uses_the_others(folder, caplog):
    detector = Face(FaceConfig(gallery=str(folder)), infer=lambda samples: [[Found(BOX, 0.99, (0.1,) * 128)]])
    ((_, hit),) = detector.detect([Sample(pixels=np.zeros((9, 9, 3), np.uint8))])
    assert hit.label == "b whole"
    assert "a broken one/picture.png" in caplog.text and "is not used" in caplog.text


def test_restraint_starts_and_uses_the_others(folder, caplog):
    exemplars = Exemplars(Gallery(str(folder)), lambda pictures: np.ones((len(pictures), 1), np.float32))
    assert [[match.name for match in found] for found in exemplars.matches(np.ones((1, 1)))] == [["b whole"]]
    assert "a broken one/picture.png" in caplog.text and "is not used" in caplog.text


def test_the_flaws_of_the_gallery_give_the_reason(folder):
    (flaw,) = Gallery(str(folder)).flaws()
    assert flaw.path == "a broken one/picture.png"
    assert flaw.reason.startswith(("is ", "has "))


def test_a_broken_file_cannot_be_added_and_nothing_is_stored(folder, tmp_path):
    gallery = Gallery(str(tmp_path / "new"))
    with pytest.raises(SettingsError, match="cannot be read as a picture"):
        gallery.add("Ann", folder / "b whole" / "picture.png", folder / "a broken one" / "picture.png")
    assert gallery.references() == []


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 3)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_too_small_for_a_logo_is_skipped(tmp_path, size, mode, caplog):
    (tmp_path / "tiny").mkdir()
    Image.new(mode, size).save(tmp_path / "tiny" / "picture.png")  # as RGBA it is transparent everywhere
    detector = Logo(LogoConfig(gallery=str(tmp_path)))
    assert detector.detect([Sample(pixels=np.asarray(noise()))]) == [[]]
    assert "shows too little" in caplog.text


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "TIFF") for mode in ("I", "F", "LAB", "YCbCr", "CMYK")),
        *((mode, "JPEG") for mode in ("L", "CMYK")),
    ],
)
def test_every_mode_of_pictures_is_read(mode, format):
    wide = {"I": np.int32, "I;16": np.uint16, "F": np.float32}  # their values go up to 65,535
    grey = np.asarray(noise(mode="L"))
    picture = Image.fromarray(grey.astype(wide[mode]) * 257) if mode in wide else noise(mode=mode)
    picture = decode(encoded(picture, format))
    assert (picture.mode, picture.size) == ("RGBA", (64, 64))
    assert np.asarray(picture)[..., :3].std() > 20


def test_pictures_of_16_bits_are_scaled_and_not_clipped():
    grey = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    picture = decode(encoded(Image.fromarray(grey)))
    assert np.asarray(picture)[..., 0].ravel().tolist() == list(range(256))


def test_a_jpeg_in_cmyk_keeps_its_colours():
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    pixel = decode(encoded(red, "JPEG", quality=95)).getpixel((8, 8))
    assert pixel[0] > 240 and pixel[1] < 15 and pixel[2] < 15


def test_a_turned_photo_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)


def test_files_that_are_no_pictures_of_a_name_are_listed_with_the_reason_and_not_used(tmp_path):
    gallery = Gallery(str(tmp_path))
    for path in (
        "Ann/2019/old.png",
        "loose.png",
        "_own/a.png",
        ".hidden/a.png",
        "bad#name/a.png",
        "Ann/a.gif",
        "Ann/A.PNG",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(WHOLE)
    os.mkfifo(tmp_path / "Ann" / "pipe.png")
    (tmp_path / "Ann" / "nowhere.png").symlink_to("missing")
    (tmp_path / "Ann" / "circle").symlink_to("..")
    with open(os.fsencode(tmp_path) + b"/Ann/\xff.png", "wb") as file:
        file.write(WHOLE)
    os.mkdir(os.fsencode(tmp_path) + b"/\xfe")
    assert [(one.name, one.file) for one in gallery.references()] == [("Ann", "A.PNG")]
    reasons = {flaw.path: flaw.reason for flaw in gallery.flaws()}
    assert set(reasons) == {
        *("loose.png", "bad#name", "Ann/2019", "Ann/a.gif", "Ann/circle", "Ann/pipe.png"),
        *("Ann/\N{REPLACEMENT CHARACTER}.png", "\N{REPLACEMENT CHARACTER}"),
    }
    assert "sub-folder" in reasons["Ann/2019"] and "valid name" in reasons["bad#name"]
    assert gallery.flaws()[0] == Flaw("Ann/2019", reasons["Ann/2019"])


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "a.png").write_bytes(WHOLE)
    monkeypatch.setattr("deployments.galleries.pictures.MAX_BYTES", 100)
    gallery = Gallery(str(tmp_path))
    (reference,) = gallery.references()
    with pytest.raises(UnusablePicture, match="100 are allowed"):
        gallery.read(reference)
