"""Videos: which frames are sampled, how they are turned, and how damage is reported."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage import data

from cluster.settings import Decoding
from pipelines.media.decoding import frames, probe, sniff
from tests.support.media import (
    BLUE,
    DECODING,
    FILMS,
    GREEN,
    RED,
    WHITE,
    film,
    near,
    reason,
    solid,
    times,
    until_it_breaks,
)


def test_a_video_is_sampled_at_intervals_and_at_the_first_frame_of_every_shot(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 16 + [solid(GREEN)] * 18 + [solid(BLUE)] * 6)
    found = list(frames(path, "video", DECODING))
    assert times(found) == [0.0, 1.0, 1.6, 2.0, 3.0, 3.4]
    assert near(found[2].sample.pixels[60, 80], GREEN, by=25) and near(found[5].sample.pixels[60, 80], BLUE, by=25)
    assert times(frames(path, "video", Decoding(frames_per_s=0.5))) == [0.0, 1.6, 2.0, 3.4]


def test_a_strobe_does_not_make_every_frame_a_shot(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED), solid(GREEN)] * 20, rate=20)
    assert len(list(frames(path, "video", DECODING))) <= 9  # four a second, and the last frame


def caption(text: str) -> Image.Image:
    picture = solid((90, 90, 90), 640, 360)
    ImageDraw.Draw(picture).text((40, 300), text, fill=WHITE, font_size=16)
    return picture


def test_a_still_scene_is_unchanged_until_its_caption_changes(tmp_path):
    lines = ["The minister resigns", "The minister remains", "The minister remains"]
    path = film(tmp_path / "a.mp4", [caption(line) for line in lines for _ in range(10)])
    assert [one.same_as_before for one in frames(path, "video", DECODING)] == [False, False, True]


def test_a_slow_drift_is_noticed(tmp_path):
    levels = range(60, 100, 2)  # neighbours differ by less than same_below, frames that are further apart do not
    path = film(tmp_path / "a.mp4", [solid((level, level, level)) for level in levels], rate=1)
    same = [one.same_as_before for one in frames(path, "video", Decoding(same_below=5))]
    assert len(same) == 20 and 5 <= same.count(False) <= 8


def test_a_frame_that_stands_for_seconds_is_sampled_though_it_begins_between_two_ticks(tmp_path):
    path = film(tmp_path / "a.mp4", [caption("one"), *[caption("two")] * 3], rate=1)
    shown = [frame.sample.time_s for frame in frames(path, "video", Decoding(frames_per_s=0.4))]
    assert shown == [0.0, 2.0]  # the tick at 2.5 s shows the frame that begins at 2 s


def test_the_last_frame_is_sampled_if_it_shows_something_else(tmp_path):
    path = film(tmp_path / "a.mp4", [caption("one")] * 15 + [caption("the end of it")])
    assert times(frames(path, "video", DECODING)) == [0.0, 1.0, 1.5]
    path = film(tmp_path / "b.mp4", [caption("one")] * 16)
    assert times(frames(path, "video", DECODING)) == [0.0, 1.0]


@pytest.mark.parametrize(("first", "last", "sampled"), [(53, 60, True), (54, 55, True), (53, 76, False)])
def test_a_caption_that_is_shown_between_two_ticks_only_is_sampled_once(tmp_path, first, last, sampled):
    def scene(n: int) -> Image.Image:
        picture = caption("BREAKING NEWS TODAY" if first <= n < last else "")
        ImageDraw.Draw(picture).ellipse((n * 8 % 600, 100, n * 8 % 600 + 60, 160), fill=RED)  # it moves all the time
        return picture

    path = film(tmp_path / "a.mp4", [scene(n) for n in range(100)], rate=25)
    between = [time_s for time_s in times(frames(path, "video", DECODING)) if time_s not in (0, 1, 2, 3, 3.96)]
    assert len(between) == sampled and all(first / 25 <= time_s < last / 25 for time_s in between)


def test_one_frame_of_another_picture_is_sampled_wherever_it_is(tmp_path):
    for at in (26, 28, 37, 49):
        pictures = [solid((20, 20, 20), 320, 180)] * 60
        pictures[at] = caption("A message").resize((320, 180))
        found = times(frames(film(tmp_path / f"{at}.mp4", pictures, rate=25), "video", DECODING))
        assert at / 25 in found and len(found) <= 5, at


def panned(path: Path, speed: float, text: str = "") -> Path:
    """A film of three seconds in which the camera moves over a photograph, with a caption from 1.28 to 1.72 s."""
    wide = Image.fromarray(data.coffee()).resize((960, 640))

    def scene(n: int) -> Image.Image:
        view = wide.transform((640, 360), Image.Transform.AFFINE, (1, 0, n * speed, 0, 1, n * speed / 2), Image.BICUBIC)
        shown = text if 32 <= n < 43 else ""
        ImageDraw.Draw(view).text((60, 290), shown, WHITE, font_size=40, stroke_width=2, stroke_fill="black")
        return view

    return film(path, [scene(n) for n in range(75)], rate=25)


@pytest.mark.parametrize("speed", [0.3, 1.0, 3.0])
def test_a_camera_that_pans_adds_no_frames(tmp_path, speed):
    assert times(frames(panned(tmp_path / "a.mp4", speed), "video", DECODING)) == [0, 1, 2, 2.96]


@pytest.mark.parametrize("speed", [0.3, 1.0])
def test_a_caption_over_a_slow_pan_is_sampled_though_it_is_gone_at_the_next_tick(tmp_path, speed):
    found = times(frames(panned(tmp_path / "a.mp4", speed, "HARBOUR"), "video", DECODING))
    assert len(found) <= 6 and any(1.28 <= time_s < 1.72 for time_s in found)


def test_people_who_walk_do_not_add_frames(tmp_path):
    def scene(n: int) -> Image.Image:
        picture = caption("a wall with a poster")
        ImageDraw.Draw(picture).rectangle((n * 8, 120, n * 8 + 90, 360), fill=(30, 60, 90), outline=WHITE)
        return picture

    path = film(tmp_path / "a.mp4", [scene(n) for n in range(75)], rate=25)
    assert len(list(frames(path, "video", DECODING))) <= 5


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-10, 10)), (-90, (10, -10)), (180, (-10, -10))])
def test_a_video_is_turned_by_its_display_matrix(tmp_path, rotation, corner):
    picture = solid(RED)
    picture.paste(WHITE, (0, 0, 30, 30))
    path = film(tmp_path / "a.mp4", [picture] * 3, rotation=rotation)
    media = probe(path, "video", DECODING)
    (frame,) = frames(path, "video", DECODING)
    assert frame.sample.pixels.shape[:2] == (media.height, media.width)
    assert (media.width, media.height) == ((120, 160) if rotation != 180 else (160, 120))
    assert near(frame.sample.pixels[corner], WHITE, by=25)


def test_a_video_is_mirrored_by_its_display_matrix(tmp_path):
    picture = solid(RED)
    picture.paste(WHITE, (0, 0, 30, 30))
    path = film(tmp_path / "a.mp4", [picture] * 3)
    content = path.read_bytes()
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = content.index(upright, content.index(b"tkhd"))
    mirrored = struct.pack(">9i", -1 << 16, 0, 0, 0, 1 << 16, 0, 160 << 16, 0, 1 << 30)
    path.write_bytes(content[:at] + mirrored + content[at + 36 :])
    (frame,) = frames(path, "video", DECODING)
    assert near(frame.sample.pixels[10, -10], WHITE, by=25) and near(frame.sample.pixels[10, 10], RED, by=25)


def test_pixels_that_are_not_square_become_square(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(2, 1)
        container.mux(video.encode(av.VideoFrame.from_image(solid(RED))))
        container.mux(video.encode(None))
    media = probe(tmp_path / "a.mp4", "video", DECODING)
    (frame,) = frames(tmp_path / "a.mp4", "video", DECODING)
    assert (media.width, media.height) == (320, 120) and frame.sample.pixels.shape == (120, 320, 3)


def test_every_video_track_is_sampled_and_named(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for stream, color in zip(streams, (RED, GREEN), strict=True):
            for _ in range(15):
                container.mux(stream.encode(av.VideoFrame.from_image(solid(color))))
            container.mux(stream.encode(None))
    found = list(frames(path, "video", DECODING))
    assert [(frame.sample.time_s, frame.sample.track) for frame in found] == [
        (0.0, "video track 1"), (1.0, "video track 1"), (0.0, "video track 2"), (1.0, "video track 2")]  # fmt: skip
    assert near(found[0].sample.pixels[60, 80], RED, by=25) and near(found[2].sample.pixels[60, 80], GREEN, by=25)


def test_frames_before_and_after_damage_are_kept_and_the_damage_is_reported(tmp_path):
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


def test_a_truncated_video_is_reported_though_all_its_frames_decode(tmp_path):
    whole = film(tmp_path / "a.mkv", [caption(str(number)) for number in range(60)]).read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) // 2])
    kept, why = until_it_breaks(frames(tmp_path / "b.mkv", "video", DECODING))
    assert len(kept) >= 2 and "it declares 6.0 s: it was cut short" in why


def test_a_video_without_its_index_is_an_error(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 30)
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged" in reason(lambda: sniff(path))


def test_an_appended_recording_is_analysed_too(tmp_path):
    first = film(tmp_path / "a.ts", [solid(RED)] * 20).read_bytes()
    (tmp_path / "b.ts").write_bytes(first + film(tmp_path / "c.ts", [solid(GREEN)] * 20).read_bytes())
    found = list(frames(tmp_path / "b.ts", "video", DECODING))
    assert times(found)[-1] >= 3.0 and near(found[-1].sample.pixels[60, 80], GREEN, by=25)


def test_a_video_that_is_too_long_or_too_large_is_refused(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 30, sound_hz=440.0)
    short, small = Decoding(max_duration_s=2), Decoding(max_pixels=10_000)
    assert "it lasts 3 seconds; decoding.max_duration_s allows 2" in reason(lambda: probe(path, "video", short))
    assert "more than 10,000" in reason(lambda: list(frames(path, "video", small)))


def test_a_bug_of_the_caller_is_not_an_error_of_the_file(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 3)
    with pytest.raises(AttributeError):
        list(frames(path, "video", None))  # type: ignore[arg-type]


@pytest.mark.ray
@pytest.mark.skipif(not FILMS.is_dir(), reason="the labelled films are not here")
def test_all_captions_of_the_news_are_kept_and_few_other_frames():
    found = list(frames(FILMS / "composite_news_en.mp4", "video", DECODING))
    assert times(one for one in found if not one.same_as_before) == [0.0, 4.0, 8.0]
    assert len(found) == 11
