import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.decoding import Frame, Media, frames, probe, sniff, sound, thumbnail
from tests.support.paths import ROOT, SHARED

DECODING = Decoding()
RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (255, 255, 255)
BADMEDIA = SHARED / "badmedia"
FILMS = SHARED / "media" / "video"


def solid(color: tuple[int, int, int], width: int = 160, height: int = 120) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def film(path: Path, pictures: Iterable[Image.Image], rate: int = 10, **options: Any) -> Path:
    """A silent video; rotation turns it, sound_hz gives it a tone as long as it is, faststart puts the index first."""
    import av

    pictures = list(pictures)
    muxer = {"movflags": "faststart"} if options.get("faststart") else {}
    with av.open(str(path), "w", options=muxer) as container:
        video = container.add_stream(options.get("codec", "libx264"), rate=rate)
        video.width, video.height = pictures[0].size
        video.pix_fmt = "yuvj420p" if options.get("codec") == "mjpeg" else "yuv420p"
        if "gop" in options:
            video.gop_size = options["gop"]
        if "rotation" in options:
            video.set_display_rotation(options["rotation"])
        tone = container.add_stream("aac", rate=48_000, layout="stereo") if "sound_hz" in options else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
        container.mux(video.encode(None))
        if tone:
            container.mux(encoded_tone(tone, options["sound_hz"], 48_000, len(pictures) / rate))
    return path


def song(path: Path, codec: str, rate: int = 44_100, seconds: float = 1.0, cover: bool = False) -> Path:
    import av
    from av.stream import Disposition

    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as container:
        tone = container.add_stream(codec, rate=rate, layout="stereo", bit_rate=128_000)
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width = picture.height = 64
            picture.pix_fmt, picture.disposition = "yuvj420p", Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_image(solid(RED, 64, 64)).reformat(format="yuvj420p")))
            container.mux(picture.encode(None))
        container.mux(encoded_tone(tone, 440.0, rate, seconds))
    return path


def encoded_tone(stream: Any, hz: float, rate: int, seconds: float) -> list[Any]:
    import av

    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(stream.format, "stereo", rate, frame_size=stream.codec_context.frame_size or None)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return [packet for piece in [*pieces, None] for packet in stream.encode(piece)]


def times(found: Iterable[Frame]) -> list[float | None]:
    return [None if one.sample.time_s is None else round(one.sample.time_s, 2) for one in found]


def image_of(path: Path, decoding: Decoding = DECODING) -> np.ndarray:
    (frame,) = frames(path, "image", decoding)
    assert frame.sample.time_s is None and not frame.same_as_before
    assert frame.sample.pixels is not None and frame.sample.pixels.dtype == np.uint8
    return frame.sample.pixels


def near(pixel: Any, color: tuple[int, int, int], by: int = 12) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - color).max() <= by)


def reason(call: Callable[[], Any]) -> str:
    with pytest.raises(MediaError) as caught:
        call()
    assert caught.value.step == "decode"
    return caught.value.reason


def until_it_breaks(found: Iterator[Any]) -> tuple[list[Any], str]:
    kept = []
    try:
        for one in found:
            kept.append(one)
    except MediaError as error:
        return kept, error.reason
    return kept, ""


# what a file is


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "avif"])
def test_a_picture_is_known_by_its_bytes(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", solid(RED)).rename(tmp_path / "evidence")
    assert sniff(path) == "image"
    assert probe(path, "image", DECODING) == Media("image", 160, 120)
    assert near(image_of(path)[60, 80], RED)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
     ("a.mpg", "mpeg1video"), ("a.flv", "flv"), ("a.wmv", "wmv2")],
)  # fmt: skip
def test_a_video_is_known_by_its_bytes(tmp_path, name, codec):
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
def test_a_song_is_sound_even_with_a_picture_on_its_cover(tmp_path, name, codec, cover):
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


def test_a_name_that_lies_is_said(tmp_path):
    path = film(tmp_path / "a.jpg.mp4", [solid(RED)] * 3)
    assert "it is no image but video" in reason(lambda: probe(path, "image", DECODING))


def test_what_is_no_media_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("Dear Sir, this is a letter.\n" * 20)
    (tmp_path / "utf16.mp3").write_bytes("a letter".encode("utf-16"))
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    os.mkfifo(tmp_path / "pipe")
    assert reason(lambda: sniff(tmp_path / "empty.mp4")) == "it is empty: it has no bytes"
    for name in ("text.jpg", "utf16.mp3", "list.mp4", "concat.mp4"):
        assert "no image, video or audio format that is read here" in reason(lambda name=name: sniff(tmp_path / name))
    assert "convert it to JPEG" in reason(lambda: sniff(tmp_path / "a.heic"))
    assert "folder" in reason(lambda: sniff(tmp_path))
    assert "not a regular file" in reason(lambda: sniff(tmp_path / "pipe"))
    assert "not there" in reason(lambda: sniff(tmp_path / "gone"))


# pictures


def test_a_picture_is_put_upright_as_its_exif_says(tmp_path):
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


def test_what_is_transparent_lies_on_white(tmp_path):
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


def test_a_picture_that_is_cut_short_is_an_error_and_never_grey(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    for suffix in ("jpg", "png", "gif", "webp", "tif", "bmp"):
        path = save(tmp_path / f"a.{suffix}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        assert "damaged" in reason(lambda path=path: list(frames(path, "image", DECODING))), suffix


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_that_declares_too_many_pixels_is_refused_by_its_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png(30_000, 30_000, b""))
    says = "it declares 30,000 x 30,000 pixels; decoding.max_pixels allows 200,000,000"
    assert reason(lambda: probe(tmp_path / "a.png", "image", DECODING)) == says
    assert reason(lambda: list(frames(tmp_path / "a.png", "image", DECODING))) == says


def test_the_limit_is_ours_and_not_pillows(tmp_path):
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000, zlib.compress(bytes(10_001 * 10_000), 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_of(tmp_path / "a.png").shape == (1600, 1600, 3)
    assert Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < 10_000 * 10_000


def test_an_animated_picture_is_sampled_like_a_video(tmp_path):
    shown = [solid(RED), solid(RED), solid(GREEN), solid(BLUE)]
    for index, picture in enumerate(shown):
        ImageDraw.Draw(picture).rectangle((index, 0, index, 2), fill=WHITE)  # no two the same, lest they be merged
    for suffix in ("gif", "webp", "png"):
        path = save(tmp_path / f"a.{suffix}", shown[0], save_all=True, append_images=shown[1:], duration=600)
        found = list(frames(path, "image", DECODING))
        assert times(found) == [0.0, 1.2, 1.8], suffix  # 1.8 for its shot
        assert near(found[1].sample.pixels[60, 80], GREEN, by=30)


def test_a_scan_of_several_pages_says_that_only_the_first_was_looked_at(tmp_path):
    path = save(tmp_path / "a.tif", solid(RED), save_all=True, append_images=[solid(BLUE)])
    kept, why = until_it_breaks(frames(path, "image", DECODING))
    assert len(kept) == 1 and why == "it has 2 pages, of which only the first was looked at"


# videos


def test_a_video_gives_a_frame_each_interval_and_the_first_of_every_shot(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 16 + [solid(GREEN)] * 18 + [solid(BLUE)] * 6)
    found = list(frames(path, "video", DECODING))
    assert times(found) == [0.0, 1.0, 1.6, 2.0, 3.0, 3.4]
    assert near(found[2].sample.pixels[60, 80], GREEN, by=25) and near(found[5].sample.pixels[60, 80], BLUE, by=25)
    assert times(frames(path, "video", Decoding(frames_per_s=0.5))) == [0.0, 1.6, 2.0, 3.4]


def test_a_strobe_does_not_make_every_frame_a_shot(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED), solid(GREEN)] * 20, rate=20)
    assert len(list(frames(path, "video", DECODING))) <= 8


def caption(text: str) -> Image.Image:
    picture = solid((90, 90, 90), 640, 360)
    ImageDraw.Draw(picture).text((40, 300), text, fill=WHITE, font_size=16)
    return picture


def test_a_still_scene_is_the_same_until_its_caption_changes(tmp_path):
    lines = ["The minister resigns", "The minister remains", "The minister remains"]
    path = film(tmp_path / "a.mp4", [caption(line) for line in lines for _ in range(10)])
    assert [one.same_as_before for one in frames(path, "video", DECODING)] == [False, False, True]


def test_a_slow_drift_does_not_creep_by(tmp_path):
    levels = range(60, 100, 2)  # neighbours differ by less than same_below, frames that are further apart do not
    path = film(tmp_path / "a.mp4", [solid((level, level, level)) for level in levels], rate=1)
    same = [one.same_as_before for one in frames(path, "video", Decoding(same_below=5))]
    assert len(same) == 20 and 5 <= same.count(False) <= 8


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-10, 10)), (-90, (10, -10)), (180, (-10, -10))])
def test_a_video_is_put_upright_as_its_matrix_says(tmp_path, rotation, corner):
    picture = solid(RED)
    picture.paste(WHITE, (0, 0, 30, 30))
    path = film(tmp_path / "a.mp4", [picture] * 3, rotation=rotation)
    media = probe(path, "video", DECODING)
    (frame,) = frames(path, "video", DECODING)
    assert frame.sample.pixels.shape[:2] == (media.height, media.width)
    assert (media.width, media.height) == ((120, 160) if rotation != 180 else (160, 120))
    assert near(frame.sample.pixels[corner], WHITE, by=25)


def test_frames_before_and_behind_a_damage_are_kept_and_the_damage_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(0, 60, (40, 120, 160, 3), np.uint8)
    pictures = [Image.fromarray(one) for one in noise]
    whole = film(tmp_path / "a.mp4", pictures, faststart=True, codec="mjpeg").read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2 : len(whole) // 2 + 6000] = bytes(6000)
    (tmp_path / "b.mp4").write_bytes(broken)
    kept, why = until_it_breaks(frames(tmp_path / "b.mp4", "video", DECODING))
    assert times(kept)[0] == 0.0 and times(kept)[-1] > 3.0 and "video packets could not be decoded" in why
    (tmp_path / "c.mp4").write_bytes(whole[: len(whole) // 2])
    kept, why = until_it_breaks(frames(tmp_path / "c.mp4", "video", DECODING))
    assert 0.5 <= times(kept)[-1] <= 2.0 and "damaged" in why


def test_a_video_that_ends_early_is_said_though_all_that_is_there_is_whole(tmp_path):
    whole = film(tmp_path / "a.mkv", [caption(str(number)) for number in range(60)]).read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) // 2])
    kept, why = until_it_breaks(frames(tmp_path / "b.mkv", "video", DECODING))
    assert len(kept) >= 2 and "it declares 6.0 s: it was cut short" in why


def test_a_video_without_its_index_is_an_error(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 30)
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged" in reason(lambda: sniff(path))


def test_a_recording_that_was_appended_is_looked_at_too(tmp_path):
    first = film(tmp_path / "a.ts", [solid(RED)] * 20).read_bytes()
    (tmp_path / "b.ts").write_bytes(first + film(tmp_path / "c.ts", [solid(GREEN)] * 20).read_bytes())
    found = list(frames(tmp_path / "b.ts", "video", DECODING))
    assert times(found)[-1] >= 3.0 and near(found[-1].sample.pixels[60, 80], GREEN, by=25)


def test_what_is_too_long_or_too_large_is_refused(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 30, sound_hz=440.0)
    short, small = Decoding(max_duration_s=2), Decoding(max_pixels=10_000)
    assert "it lasts 3 seconds; decoding.max_duration_s allows 2" in reason(lambda: probe(path, "video", short))
    assert "more than 10,000" in reason(lambda: list(frames(path, "video", small)))


# sound


def test_the_sound_of_a_video_is_mono_at_16_khz(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 20, sound_hz=440.0)
    assert probe(path, "video", DECODING).has_sound
    (piece,) = sound(path, DECODING)
    assert piece.time_s == pytest.approx(0, abs=0.05) and piece.sound.size == pytest.approx(32_000, abs=1600)
    assert np.abs(piece.sound).max() == pytest.approx(0.5, abs=0.1)
    assert np.argmax(np.abs(np.fft.rfft(piece.sound[8000:24_000]))) == pytest.approx(440, abs=2)


def test_a_video_without_sound_gives_none(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 3)
    assert list(sound(path, DECODING)) == []


def wav(samples: np.ndarray, rate: int) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + samples.nbytes, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate,
                       2, 16, b"data", samples.nbytes)  # fmt: skip
    return head + samples.tobytes()


def test_silence_is_sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(8000, np.int16), 8000))
    (piece,) = sound(tmp_path / "a.wav", DECODING)
    assert piece.sound.size == pytest.approx(16_000, abs=64) and not piece.sound.any()


@pytest.mark.ray  # for its 3 seconds
def test_a_long_recording_comes_in_pieces_of_half_an_hour(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(4000 * 2000, np.int16), 4000))
    pieces = [(one.time_s, one.sound.size) for one in sound(tmp_path / "a.wav", DECODING)]
    assert pieces[0] == (0.0, 1800 * 16_000) and pieces[1][0] == 1800.0
    assert pieces[1][1] == pytest.approx(200 * 16_000, abs=64) and len(pieces) == 2


def test_a_sound_file_with_nothing_in_it_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(0, np.int16), 8000))
    assert reason(lambda: list(sound(tmp_path / "a.wav", DECODING)))


def test_a_thumbnail_is_a_small_jpeg():
    picture = Image.open(io.BytesIO(thumbnail(np.zeros((900, 1600, 3), np.uint8))))
    assert picture.format == "JPEG" and picture.size == (320, 180)


# what our own mistakes and strangers' files do


def test_a_mistake_of_the_caller_is_no_fault_of_the_file(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 3)
    with pytest.raises(AttributeError):
        list(frames(path, "video", None))  # type: ignore[arg-type]


SWEEP = """
import json, resource, sys, time
from contextlib import suppress
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from cluster.errors import MediaError
from cluster.settings import Decoding
from pipelines.media.segments import segments
from pipelines.media.decoding import frames, probe, sniff, sound
done, slowest_s = {"ok": 0, "error": 0}, 0.0
for path in sorted(path for path in Path(sys.argv[1]).rglob("*.*") if path.suffix not in (".md", ".tsv")):
    begun = time.process_time()
    try:
        kind = sniff(path)
        probe(path, kind, Decoding())
        for found in frames(path, kind, Decoding()):
            assert found.sample.pixels.ndim == 3
        for piece in sound(path, Decoding()) if kind != "image" else ():
            assert piece.sound.ndim == 1
        with suppress(MediaError):
            for part in segments(path, Decoding(segment_s=0.2)):
                for found in frames(path, "video", Decoding(), part):
                    assert found.sample.time_s >= part.begin_s - 1e-6
                for piece in sound(path, Decoding(), part):
                    assert piece.sound.ndim == 1
        done["ok"] += 1
    except MediaError as error:
        assert error.step == "decode" and error.reason
        done["error"] += 1
    slowest_s = max(slowest_s, time.process_time() - begun)
# of this program: ru_maxrss begins at what the process that started it held
peak_mb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
print(json.dumps({**done, "slowest_s": round(slowest_s, 2), "peak_mb": peak_mb}))
"""


def sweep(folder: Path) -> dict[str, float]:
    """What one process makes of every file: any other error, crash or hang fails the test."""
    import json

    child = subprocess.run([sys.executable, "-c", SWEEP, folder], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-3000:]
    found: dict[str, float] = json.loads(child.stdout)
    print(folder.name, found)
    return found


@pytest.mark.ray
@pytest.mark.timeout(320)
@pytest.mark.skipif(not BADMEDIA.is_dir(), reason="the corpus of hostile files is not here")
def test_hostile_files_end_in_frames_or_an_error_in_bounded_time_and_memory():
    found = sweep(BADMEDIA)
    assert found["ok"] + found["error"] == 1525 and found["ok"] > 300
    assert found["slowest_s"] < 10 and found["peak_mb"] < 1500


@pytest.mark.ray
@pytest.mark.timeout(320)
def test_flipped_bytes_and_cuts_end_in_frames_or_an_error(tmp_path):
    noise = np.random.default_rng(7).integers(0, 255, (12, 96, 128, 3), np.uint8)
    pictures = [Image.fromarray(one) for one in noise]
    whole = [film(tmp_path / name, pictures, codec=codec, gop=3) for name, codec in
             (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4"), ("a.ts", "libx264"),
              ("a.flv", "flv"))]  # fmt: skip
    whole += [song(tmp_path / name, codec, 48_000) for name, codec in
              (("b.mp3", "libmp3lame"), ("b.m4a", "aac"), ("b.ogg", "libopus"), ("b.flac", "flac"))]  # fmt: skip
    whole += [save(tmp_path / f"c.{suffix}", pictures[0], save_all=True, append_images=pictures[1:4])
              for suffix in ("gif", "webp", "png", "tif", "avif")]  # fmt: skip
    rng = np.random.default_rng(11)
    variants = tmp_path / "variants"
    variants.mkdir()
    for path in whole:
        for number in range(40):
            content = bytearray(path.read_bytes())
            reach = 400 if number % 2 else len(content)  # heads are where the parsers are
            for at in rng.integers(0, min(reach, len(content)), 1 + number % 8):
                content[at] = rng.integers(0, 256)
            if number % 5 == 0:
                del content[rng.integers(1, len(content)) :]
            (variants / f"{number}.{path.name}").write_bytes(content)
    found = sweep(variants)
    assert found["ok"] + found["error"] == 40 * len(whole) and found["error"] > 100
    assert found["slowest_s"] < 10 and found["peak_mb"] < 1500


@pytest.mark.ray
@pytest.mark.skipif(not FILMS.is_dir(), reason="the labelled films are not here")
def test_the_captions_of_the_news_are_all_kept_and_little_else():
    found = list(frames(FILMS / "composite_news_en.mp4", "video", DECODING))
    assert times(one for one in found if not one.same_as_before) == [0.0, 4.0, 8.0]
    assert len(found) == 11
