from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cluster.records import SOUND_RATE_HZ, Segment
from cluster.settings import Decoding, Scanning, Settings
from pipelines.ledger.cutting import Cut
from pipelines.ledger.listing import LEDGER, UNCUT, unit_id
from pipelines.ledger.unpacked import Unpacked
from pipelines.media.decoding import frames, sound
from pipelines.media.segments import segments
from tests.pipelines.decoder import shared_decoder
from tests.support.media import FILMS, until_it_breaks

OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:scenecut=0"}
FORMATS = [
    ("a.mp4", "libx264", {}, "aac", 44_100),
    ("b.mp4", "libx264", OPEN_GOP, "aac", 48_000),
    ("c.mkv", "libx264", OPEN_GOP, "aac", 44_100),
    ("d.ts", "libx264", OPEN_GOP, "aac", 44_100),
    ("e.webm", "libvpx", {"deadline": "realtime", "cpu-used": "8"}, "libopus", 48_000),
    ("f.avi", "mpeg4", {}, "libmp3lame", 44_100),
    ("g.flv", "flv", {}, "libmp3lame", 44_100),
    ("h.mov", "mjpeg", {}, "pcm_s16le", 22_050),
    ("i.mkv", "libx264", {}, "flac", 44_100),
    ("j.wmv", "wmv2", {}, "wmav2", 44_100),
]


def movie(path: Path, codec: str, options: dict[str, str], audio: str | None, rate: int, seconds: int = 14) -> Path:
    """Scenes of odd lengths, with a tone that rises, and is silent for half a second of every two."""
    import av

    colors = np.random.default_rng(1).integers(0, 255, (100, 3))
    clock = np.arange(seconds * rate) / max(rate, 1)
    wave = (0.4 * np.sin(2 * np.pi * (200 + 40 * clock) * clock) * (clock % 2 < 1.5)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.gop_size = 96, 64, 20
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        packed = audio is None or audio.startswith("pcm") or audio == "flac"
        tone = audio and container.add_stream(audio, rate=rate, layout="stereo", **({} if packed else BIT_RATE))
        resampler = tone and av.AudioResampler(
            tone.format, "stereo", rate, frame_size=tone.codec_context.frame_size or None
        )
        for n in range(seconds * 25):
            picture = Image.new("RGB", (96, 64), tuple(colors[n // 37].tolist()))
            picture.paste((255, 255, 255), (n % 80, 10, n % 80 + 8, 20))
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
            if tone:
                piece = wave[n * rate // 25 : (n + 1) * rate // 25]
                frame = av.AudioFrame.from_ndarray(np.stack([piece, piece]), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = rate, n * rate // 25, Fraction(1, rate)
                container.mux([packet for one in resampler.resample(frame) for packet in tone.encode(one)])
        container.mux(video.encode(None))
        if tone:
            container.mux([packet for one in [*resampler.resample(None), None] for packet in tone.encode(one)])
    return path


BIT_RATE = {"bit_rate": 128_000}


def heard(path: Path, limits: Decoding, segment: Segment | None = None) -> np.ndarray:
    pieces = list(sound(path, limits, segment))
    if segment and pieces:
        assert pieces[0].time_s == pytest.approx(segment.sound_begin_s, abs=1 / SOUND_RATE_HZ)
    return np.concatenate([piece.sound for piece in pieces]) if pieces else np.empty(0, np.float32)


def parts_are_the_whole(path: Path, limits: Decoding) -> tuple[Segment, ...]:
    """Check that the frames and sounds of a video's segments are those of the video."""
    cut = segments(path, limits)
    whole = [frame.sample.time_s for frame in frames(path, "video", limits)]
    found = [list(frames(path, "video", limits, segment)) for segment in cut]
    assert [frame.sample.time_s for part in found for frame in part] == pytest.approx(whole, abs=1e-6)
    assert not any(part[0].same_as_before for part in found if part)
    together, all_at_once = np.concatenate([heard(path, limits, part) for part in cut]), heard(path, limits)
    assert together.size == all_at_once.size
    for segment in cut[1:]:
        at = round(segment.sound_begin_s * SOUND_RATE_HZ)
        one, other = (samples[max(0, at - 8000) : at + 8000] for samples in (together, all_at_once))
        assert not one.any() or np.corrcoef(one, other)[0, 1] > 0.999
    return cut


@pytest.mark.parametrize(("name", "codec", "options", "audio", "rate"), FORMATS, ids=lambda one: str(one)[:9])
def test_the_segments_of_a_video_equal_the_video(tmp_path, name, codec, options, audio, rate):
    path = movie(tmp_path / name, codec, options, audio, rate)
    for segment_s, frames_per_s in ((2, 1.0), (5, 2.5)):
        cut = parts_are_the_whole(path, Decoding(segment_s=segment_s, frames_per_s=frames_per_s))
        assert len(cut) >= 14 / segment_s / 1.6
        assert [part.n for part in cut] == list(range(len(cut))) and {part.of for part in cut} == {len(cut)}
        for one, next_one in pairwise(cut):
            assert one.end_s == next_one.begin_s and one.sound_end_s == next_one.sound_begin_s
            assert one.begin_s < next_one.before_s < next_one.begin_s
        assert (cut[0].begin_s, cut[0].before_s, cut[0].sound_begin_s) == (0.0, None, 0.0)
        assert (cut[-1].end_s, cut[-1].sound_end_s) == (None, None)


@pytest.mark.skipif(not FILMS.is_dir(), reason="the labelled films are not here")
@pytest.mark.parametrize("name", ["composite_news_en", "composite_dialog_en"])
def test_the_segments_of_a_labelled_film_equal_the_film(name):
    assert len(parts_are_the_whole(FILMS / f"{name}.mp4", Decoding(segment_s=2))) == 3


def test_a_video_is_cut_at_key_frames_and_in_silence(tmp_path):
    path = movie(tmp_path / "a.mp4", "libx264", {"x264-params": "scenecut=0"}, "aac", 48_000, seconds=40)
    cut = segments(path, Decoding(segment_s=8))
    assert [part.begin_s for part in cut] == pytest.approx([0, 8, 16, 24, 32])
    assert all(1.6 < part.sound_begin_s % 2 < 1.9 or part.sound_begin_s == 0 for part in cut)
    assert [part.before_s for part in cut[1:]] == pytest.approx([7.96, 15.96, 23.96, 31.96])


def test_without_sound_or_in_silence_it_is_cut_at_the_key_frame(tmp_path):
    path = movie(tmp_path / "a.mp4", "libx264", {}, None, 0)
    cut = parts_are_the_whole(path, Decoding(segment_s=4))
    assert len(cut) == 3 and all(part.sound_begin_s == part.begin_s for part in cut)


def test_a_short_rest_joins_the_segment_before_it_and_a_short_video_is_left_whole(tmp_path):
    path = movie(tmp_path / "a.mp4", "libx264", {}, None, 0)
    assert len(segments(path, Decoding(segment_s=6))) == 2
    assert len(segments(path, Decoding(segment_s=9.2))) == 2
    assert segments(path, Decoding(segment_s=9.4)) == ()


def test_a_video_without_key_frames_to_cut_at_is_left_whole(tmp_path):
    path = movie(tmp_path / "a.mp4", "libx264", {"x264-params": "keyint=infinite:scenecut=0"}, None, 0)
    assert segments(path, Decoding(segment_s=3)) == ()


def test_recordings_that_were_appended_are_left_whole(tmp_path):
    path = movie(tmp_path / "a.ts", "libx264", {}, "aac", 48_000)
    path.write_bytes(path.read_bytes() * 2)
    assert segments(path, Decoding(segment_s=3)) == ()


def test_a_truncated_video_is_left_whole_and_its_analysis_reports_it(tmp_path):
    path = movie(tmp_path / "a.mkv", "mjpeg", {}, None, 0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert segments(path, Decoding(segment_s=2)) == ()
    kept, why = until_it_breaks(frames(path, "video", Decoding()))
    assert kept and "cut short" in why


def test_damage_is_reported_by_the_segment_that_contains_it(tmp_path):
    path = movie(tmp_path / "a.avi", "mjpeg", {}, None, 0)
    limits = Decoding(segment_s=3)
    cut = segments(path, limits)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    told = [bool(until_it_breaks(frames(path, "video", limits, part))[1]) for part in cut]
    assert len(cut) == 5 and told.count(True) == 1


# the step of a job


def unit(path: Path, **more: Any) -> dict[str, Any]:
    uri, size = path.as_uri(), path.stat().st_size
    plain = {"unit_id": unit_id(uri, "e"), "uri": uri, "size": size, "etag": "e", "kind": "video", "reason": "new"}
    wanted = {"detectors": ["nsfw"], "everything": ["nsfw", "ocr"], "answered": [], "sha256": None, "segment": None}
    none = dict.fromkeys(("parent", "members", "failures", "contents"))
    return plain | wanted | none | more


def cut_units(*units: dict[str, Any]) -> list[dict[str, Any]]:
    import pyarrow as pa

    decoder = shared_decoder()
    step = Cut(Settings(decoding=Decoding(segment_s=4), scanning=Scanning(roots=("/",))), decoder, Unpacked(decoder))
    told = step(pa.Table.from_pylist(list(units), UNCUT))
    assert told.schema == LEDGER
    return told.to_pylist()


def test_a_long_video_becomes_one_unit_per_segment_and_other_files_stay_unchanged(tmp_path):
    long = movie(tmp_path / "long.mp4", "libx264", {}, "aac", 48_000)
    short = movie(tmp_path / "short.mp4", "libx264", {}, None, 0, seconds=2)
    (tmp_path / "broken.mp4").write_bytes(long.read_bytes()[:300])
    Image.new("RGB", (60, 40)).save(tmp_path / "picture", "PNG")
    others = [unit(short), unit(tmp_path / "broken.mp4"), unit(tmp_path / "picture", kind=None)]
    gone = unit(long) | {"uri": (tmp_path / "gone.mp4").as_uri()}
    answered = [{"segment": 0, "detectors": ["nsfw"]}, {"segment": 1, "detectors": ["ocr", "nsfw"]}]
    *whole, missing, first, last = cut_units(*others, gone, unit(long, kind=None, answered=answered))
    kept = [{name: one[name] for name in LEDGER.names} for one in (*others, gone)]
    assert [*whole, missing] == kept
    assert (first["detectors"], last["detectors"]) == (["ocr"], ["nsfw", "ocr"])
    assert (first["segment"]["n"], last["segment"]["n"], last["segment"]["of"]) == (0, 2, 3)
    assert first["sha256"] == last["sha256"] and len(first["sha256"]) == 64 and first["kind"] == "video"
    assert first["unit_id"] == unit_id(first["uri"], "e", Segment(**first["segment"]))
    assert tuple(Segment(**one["segment"]) for one in (first, last)) == segments(long, Decoding(segment_s=4))[::2]
