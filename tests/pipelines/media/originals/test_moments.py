"""The frame that a file shows at a time, as the API reads it for the picture of a face."""

import numpy as np
import pytest
from PIL import Image

from cluster.errors import MediaError, SettingsError
from cluster.settings import Decoding, Settings
from pipelines.ledger.originals import Originals
from pipelines.media.decoding import frames
from pipelines.media.originals.moments import frame_at
from pipelines.media.pool import Decoder
from tests.support.media import BLUE, GREEN, RED, film, near, save, solid


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of 30 s whose frames all differ, with a key frame every two seconds."""
    levels = [solid((level * 3 % 250, 90, 250 - level * 3 % 250)) for level in range(300)]
    return film(tmp_path_factory.mktemp("films") / "a.mp4", levels, gop=20)


def test_every_sampled_frame_is_found_again_by_its_time_in_milliseconds(video):
    for sampled in frames(video, "video", Decoding()):
        time_s = round(sampled.sample.time_s, 3)
        (again,) = frame_at(video, "video", Decoding(), time_s)
        assert again.sample.time_s == sampled.sample.time_s
        assert np.array_equal(again.sample.pixels, sampled.sample.pixels)


def test_a_time_after_the_end_is_an_error(video):
    with pytest.raises(MediaError, match="none of its frames"):
        list(frame_at(video, "video", Decoding(), 99.0))


def test_a_picture_has_its_frame_and_an_animation_that_of_the_time(tmp_path):
    (frame,) = frame_at(save(tmp_path / "a.png", solid(GREEN)), "image", Decoding(), None)
    assert near(frame.sample.pixels[60, 80], GREEN)
    pictures = [solid(color) for color in (RED, GREEN, BLUE)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000)
    (frame,) = frame_at(path, "image", Decoding(), 2.0)
    assert near(frame.sample.pixels[60, 80], BLUE)


def test_a_child_process_reads_frames_of_a_file_twice(video):
    with Decoder() as decoder:
        for time_s in (0.0, 7.0):
            assert decoder.pixels_at(video, "video", Decoding(), time_s).shape == (120, 160, 3)


def test_a_file_is_read_under_the_roots_only(tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.png", Image.new("RGB", (40, 30), RED))
    settings = Settings(state_dir=tmp_path / "state", scanning={"roots": [str(tmp_path / "in")]})
    with Decoder() as decoder:
        originals = Originals(lambda: decoder)
        pixels = originals.pixels_at((tmp_path / "in" / "a.png").as_uri(), None, "image", None, settings)
        assert pixels.shape == (30, 40, 3)
        outside = save(tmp_path / "b.png", Image.new("RGB", (40, 30), RED))
        with pytest.raises((MediaError, SettingsError), match="lies outside"):
            originals.pixels_at(outside.as_uri(), None, "image", None, settings)
