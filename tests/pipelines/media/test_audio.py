"""Sound as mono at 16 kHz, in pieces."""

import numpy as np
import pytest

from pipelines.media.decoding import probe, sound
from tests.support.media import DECODING, RED, film, reason, solid, wav


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


def test_silence_is_sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(8000, np.int16), 8000))
    (piece,) = sound(tmp_path / "a.wav", DECODING)
    assert piece.sound.size == pytest.approx(16_000, abs=64) and not piece.sound.any()


@pytest.mark.ray  # takes 3 seconds
def test_a_long_recording_comes_in_pieces_of_half_an_hour(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(4000 * 2000, np.int16), 4000))
    pieces = [(one.time_s, one.sound.size) for one in sound(tmp_path / "a.wav", DECODING)]
    assert pieces[0] == (0.0, 1800 * 16_000) and pieces[1][0] == 1800.0
    assert pieces[1][1] == pytest.approx(200 * 16_000, abs=64) and len(pieces) == 2


def test_an_empty_sound_file_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.zeros(0, np.int16), 8000))
    assert reason(lambda: list(sound(tmp_path / "a.wav", DECODING)))
