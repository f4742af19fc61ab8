"""The kind of a file by its bytes, and the reason why a file is none that is supported."""

import os

import numpy as np
import pylibjxl
import pytest

from pipelines.media.decoding import Media, frames, probe, sniff, sound
from tests.support.media import DECODING, HEIC, RED, dng, film, image_of, near, psd, reason, save, solid, song, times


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "avif"])
def test_a_picture_is_recognised_by_its_bytes(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", solid(RED)).rename(tmp_path / "evidence")
    assert sniff(path) == "image"
    assert probe(path, "image", DECODING) == Media("image", 160, 120)
    assert near(image_of(path)[60, 80], RED)


@pytest.mark.parametrize(
    "suffix", ["jp2", "j2k", "ico", "icns", "pcx", "ppm", "pgm", "pbm", "dds", "qoi", "sgi", "heic", "jxl", "psd"]
)
def test_a_picture_of_a_rarer_format_is_read(tmp_path, suffix):
    picture = solid(RED, 128, 128)
    path = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        path.write_bytes(HEIC)
    elif suffix == "jxl":
        pylibjxl.write(str(path), np.asarray(picture))
    elif suffix == "psd":
        path.write_bytes(psd(picture))
    else:
        save(path, picture.convert({"pbm": "1", "pgm": "L"}.get(suffix, "RGBA" if suffix == "dds" else "RGB")))
    path = path.rename(tmp_path / "evidence")
    assert sniff(path) == "image"
    media = probe(path, "image", DECODING)
    side = 1024 if suffix == "icns" else 128  # Pillow writes all sizes of an icon
    assert (media.width, media.height) == (side, side)
    pixels = image_of(path)
    grey = {"pgm": 79}.get(suffix)
    assert pixels.shape == (side, side, 3)
    assert suffix == "pbm" or near(pixels[64, 64], RED if grey is None else (grey,) * 3, by=16)


def test_a_raw_picture_of_a_camera_is_developed(tmp_path):
    mosaic = np.full((128, 128), 9_000, np.uint16)
    mosaic[:, :64] = 60_000
    (tmp_path / "a.tif").write_bytes(dng(mosaic))
    assert sniff(tmp_path / "a.tif") == "image"
    pixels = image_of(tmp_path / "a.tif")
    assert pixels.shape == (64, 64, 3)
    assert pixels[32, 16].mean() > pixels[32, 48].mean() + 50


@pytest.mark.parametrize(
    ("content", "what"),
    [(b'<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
     (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing"), (b"gimp xcf v011\0" + bytes(99), "a GIMP picture (XCF)"),
     (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(99), "a Windows metafile (EMF)"),
     (bytes(128) + b"DICM" + bytes(99), "a DICOM picture")],
)  # fmt: skip
def test_a_picture_that_no_library_here_reads_is_named(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)
    assert (
        reason(lambda: sniff(tmp_path / "a.jpg")) == f"it is {what}, which is not read here; convert it to PNG or JPEG"
    )


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
     ("a.mpg", "mpeg1video"), ("a.flv", "flv"), ("a.wmv", "wmv2")],
)  # fmt: skip
def test_a_video_is_recognised_by_its_bytes(tmp_path, name, codec):
    path = film(tmp_path / name, [solid(RED)] * 30, rate=25, codec=codec).rename(tmp_path / "evidence")
    assert sniff(path) == "video"
    media = probe(path, "video", DECODING)
    assert (media.width, media.height, media.has_sound) == (160, 120, False)
    if name != "a.mpg":  # which does not say; it is guessed from the bit rate
        assert media.duration_s == pytest.approx(1.2, abs=0.3)
    found = list(frames(path, "video", DECODING))
    assert times(found) == [0.0, 1.0] and near(found[0].sample.pixels[60, 80], RED, by=25)


@pytest.mark.parametrize(
    ("name", "codec", "cover"),
    [("a.mp3", "libmp3lame", False), ("a.m4a", "aac", True), ("a.wav", "pcm_s16le", False), ("a.flac", "flac", False),
     ("a.ogg", "libopus", False), ("a.aiff", "pcm_s16be", False), ("a.aac", "aac", False), ("a.wma", "wmav2", False)],
)  # fmt: skip
def test_a_song_with_a_cover_image_is_audio(tmp_path, name, codec, cover):
    rate = 48_000 if codec == "libopus" else 44_100
    path = song(tmp_path / name, codec, rate, cover=cover).rename(tmp_path / "evidence")
    assert sniff(path) == "audio"
    media = probe(path, "audio", DECODING)
    assert (media.kind, media.width, media.has_sound) == ("audio", None, True)
    assert list(frames(path, "audio", DECODING)) == []
    (piece,) = sound(path, DECODING)
    assert piece.sound.dtype == np.float32 and piece.sound.size == pytest.approx(16_000, abs=2_000)
    spectrum = np.abs(np.fft.rfft(piece.sound[2000:12_000]))
    assert np.argmax(spectrum) * 16_000 / 10_000 == pytest.approx(440, abs=3)
    assert np.abs(piece.sound[2000:12_000]).max() == pytest.approx(0.5, abs=0.06)


def test_a_wrong_suffix_is_reported(tmp_path):
    path = film(tmp_path / "a.jpg.mp4", [solid(RED)] * 3)
    assert "it is no image but video" in reason(lambda: probe(path, "image", DECODING))


def test_a_file_that_is_no_media_gets_a_reason(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("Dear Sir, this is a letter.\n" * 20)
    (tmp_path / "utf16.mp3").write_bytes("a letter".encode("utf-16"))
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    os.mkfifo(tmp_path / "pipe")
    assert reason(lambda: sniff(tmp_path / "empty.mp4")) == "it is empty: it has no bytes"
    for name in ("text.jpg", "utf16.mp3", "list.mp4", "concat.mp4"):
        assert "no image, video or audio format that is read here" in reason(lambda name=name: sniff(tmp_path / name))
    assert "folder" in reason(lambda: sniff(tmp_path))
    assert "not a regular file" in reason(lambda: sniff(tmp_path / "pipe"))
    assert "not there" in reason(lambda: sniff(tmp_path / "gone"))
