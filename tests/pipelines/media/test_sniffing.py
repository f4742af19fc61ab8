"""The kind of a file by its bytes, and the reason why a file is none that is supported."""

import os

import av
import numpy as np
import pylibjxl
import pytest

from pipelines.media.decoding import Media, frames, probe, sniff, sound
from pipelines.media.formats import kind_of
from tests.support.media import (
    DECODING,
    HEIC,
    RED,
    dng,
    encoded_tone,
    film,
    image_of,
    near,
    psd,
    reason,
    save,
    solid,
    song,
    times,
    until_it_breaks,
)


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
    found = list(frames(path, "audio", DECODING))
    assert media.has_cover == cover and times(found) == [None] * cover  # the cover, without a time
    assert all(near(frame.sample.pixels[30, 30], RED, by=25) for frame in found)
    (piece,) = sound(path, DECODING)
    assert piece.sound.dtype == np.float32 and piece.sound.size == pytest.approx(16_000, abs=2_000)
    spectrum = np.abs(np.fft.rfft(piece.sound[2000:12_000]))
    assert np.argmax(spectrum) * 16_000 / 10_000 == pytest.approx(440, abs=3)
    assert np.abs(piece.sound[2000:12_000]).max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [("au", "pcm_mulaw", 8000), ("caf", "pcm_s16be", 44_100), ("w64", "pcm_s16le", 44_100), ("wav", "adpcm_ms", 44_100),
     ("wv", "wavpack", 44_100), ("tta", "tta", 44_100), ("voc", "pcm_u8", 8000)],
)  # fmt: skip
def test_other_recorders_sounds_are_read_too(tmp_path, form, codec, rate):
    path = tmp_path / f"a.{form}"
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        container.mux(encoded_tone(stream, 440.0, rate, 1.0, layout="mono"))
    assert sniff(path) == "audio" and probe(path, "audio", DECODING).has_sound
    (piece,) = sound(path, DECODING)
    assert np.argmax(np.abs(np.fft.rfft(piece.sound[2000:12_000]))) * 1.6 == pytest.approx(440, abs=4)


def test_zero_bytes_before_an_mp3_and_unknown_sizes_of_a_wav_do_no_harm(tmp_path):
    padded = tmp_path / "a.mp3"
    padded.write_bytes(bytes(731) + song(tmp_path / "b.mp3", "libmp3lame").read_bytes())
    streamed = tmp_path / "a.wav"
    content = song(tmp_path / "b.wav", "pcm_s16le").read_bytes()
    at = content.index(b"data") + 4
    streamed.write_bytes(content[:4] + b"\xff" * 4 + content[8:at] + b"\xff" * 4 + content[at + 4 :])
    for path in (padded, streamed):
        assert sniff(path) == "audio"
        (piece,) = sound(path, DECODING)
        assert piece.sound.size == pytest.approx(16_000, abs=2_000)


def test_transport_packets_with_a_time_code_are_read(tmp_path):
    plain = film(tmp_path / "a.ts", [solid(RED)] * 30).read_bytes()
    packets = [plain[at : at + 188] for at in range(0, len(plain), 188)]
    path = tmp_path / "a.mts"
    path.write_bytes(b"".join(n.to_bytes(4) + packet for n, packet in enumerate(packets)))
    assert sniff(path) == "video" and times(frames(path, "video", DECODING))[0] == 0.0


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


@pytest.mark.parametrize(
    ("form", "codec", "size", "rate"),
    [("h264", "libx264", (160, 120), 10), ("hevc", "libx265", (160, 120), 10), ("m4v", "mpeg4", (160, 120), 10),
     ("yuv4mpegpipe", "wrapped_avframe", (160, 120), 10), ("nut", "mpeg4", (160, 120), 10),
     ("gxf", "mpeg2video", (720, 576), 25), ("wtv", "mpeg2video", (160, 120), 25)]
)  # fmt: skip
def test_single_streams_of_cameras_are_read(tmp_path, form, codec, size, rate):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(tmp_path / "evidence"), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(solid(RED, *size))))
        container.mux(stream.encode(None))
    assert sniff(tmp_path / "evidence") == "video"
    found = list(frames(tmp_path / "evidence", "video", DECODING))
    assert found and near(found[0].sample.pixels[60, 80], RED)


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg2video")])
def test_a_film_that_begins_within_a_packet_is_read(tmp_path, name, codec):
    path = film(tmp_path / name, [solid(RED)] * 100, gop=5, codec=codec, rate=25)
    path.write_bytes(path.read_bytes()[777:])
    assert sniff(path) == "video"
    found, _ = until_it_breaks(frames(path, "video", DECODING))
    assert found and near(found[-1].sample.pixels[60, 80], RED)


@pytest.mark.parametrize(("form", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("mp2", "mp2")])
def test_sound_that_begins_within_a_frame_is_read(tmp_path, form, codec):
    path = tmp_path / "evidence"
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=44_100, layout="stereo", bit_rate=128_000)
        container.mux(encoded_tone(stream, 440.0, 44_100, 2))
    path.write_bytes(path.read_bytes()[777:])
    assert sniff(path) == "audio"
    found, _ = until_it_breaks(sound(path, DECODING))
    assert sum(piece.sound.size for piece in found) > 24_000


def test_random_bytes_are_hardly_ever_taken_for_sound_or_film():
    random = np.random.default_rng(7)
    assert sum(kind_of(b"\x80" + random.bytes(4095)) is not None for _ in range(2000)) <= 2


def test_voice_messages_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "a.amr").write_bytes(b"\x02#!SILK_V3" + bytes(100))
    assert reason(lambda: sniff(tmp_path / "a.amr")) == "it is a voice message (SILK), which is not read here"


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_a_sequence_of_pictures_in_a_heif_file_is_a_film(tmp_path, brand):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 10, codec="libx265")
    content = path.read_bytes()
    path.write_bytes(content[:8] + brand + content[12:])
    assert sniff(path) == "video"
    found = list(frames(path, "video", DECODING))
    assert found and near(found[0].sample.pixels[60, 80], RED)
