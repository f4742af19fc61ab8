"""Sound as mono at 16 kHz, in pieces."""

import struct
from pathlib import Path

import av
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


def tracks(path: Path, *waves: tuple[str, np.ndarray]) -> Path:
    """A Matroska file with PCM tracks: (language, samples at 16 kHz, (n,) or (2, n) for stereo)."""
    with av.open(str(path), "w", format="matroska") as container:
        streams = []
        for language, wave in waves:
            layout = "mono" if wave.ndim == 1 else "stereo"
            stream = container.add_stream("pcm_s16le", rate=16_000, layout=layout)
            stream.metadata["language"] = language
            streams.append(stream)
        for stream, (_, wave) in zip(streams, waves, strict=True):
            values = (np.atleast_2d(wave).T.reshape(1, -1) * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout=stream.codec_context.layout.name)
            frame.sample_rate = 16_000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
OTHER = 0.5 * np.sin(2 * np.pi * 700 * np.arange(16_000) / 16_000)


def test_every_sound_track_is_given_with_its_name_and_a_copy_of_one_only_once(tmp_path):
    path = tracks(tmp_path / "a.mkv", ("eng", TONE), ("spa", OTHER), ("fre", TONE))
    found = list(sound(path, DECODING))
    assert [piece.track for piece in found] == ["sound track 1 (eng)", "sound track 2 (spa)"]
    assert [np.argmax(np.abs(np.fft.rfft(piece.sound))) for piece in found] == [440, 700]
    (alone,) = sound(tracks(tmp_path / "b.mkv", ("eng", TONE)), DECODING)
    assert alone.track is None


@pytest.mark.parametrize(("left", "right"), [(1, -1), (0, 1), (1, 0), (1, -0.8), (1, 1), (0.6, 1)])
def test_no_channel_is_averaged_away(tmp_path, left, right):
    (piece,) = sound(tracks(tmp_path / "a.mkv", ("eng", np.stack([left * TONE, right * TONE]))), DECODING)
    assert np.abs(piece.sound).max() == pytest.approx(0.5 if left + right != 1.6 else 0.4, abs=0.02)


def test_two_voices_on_two_channels_are_both_heard(tmp_path):
    (piece,) = sound(tracks(tmp_path / "a.mkv", ("eng", np.stack([TONE, OTHER]))), DECODING)
    assert set(np.argsort(np.abs(np.fft.rfft(piece.sound)))[-2:]) == {440, 700}


def pcm(*channels: np.ndarray, places: int | None = None) -> bytes:
    """A WAV file of 16 kHz; places: bits of the loudspeakers that the channels are for."""
    values = (np.stack(channels, 1) * 32_767).astype("<i2").tobytes()
    count = len(channels)
    form = struct.pack("<HHIIHH", 1 if places is None else 0xFFFE, count, 16_000, 32_000 * count, 2 * count, 16)
    if places is not None:
        form += struct.pack("<HHI", 22, 16, places) + bytes.fromhex("0100000000001000800000aa00389b71")
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(values)) + values
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


NONE = np.zeros_like(TONE)


@pytest.mark.parametrize(
    ("channels", "places"),
    [
        ([NONE, NONE, NONE, TONE, NONE, NONE], 0x3F),  # that of deep tones
        ([NONE, NONE, TONE], 0xB),
        ([TONE, NONE, NONE, NONE, -TONE, NONE], 0x3F),
        ([NONE] * 9 + [TONE], None),
        ([NONE] * 15 + [TONE], 0),
        ([TONE, TONE, -TONE, -TONE], None),
    ],
)
def test_no_channel_of_many_is_lost(tmp_path, channels, places):
    (tmp_path / "a.wav").write_bytes(pcm(*channels, places=places))
    (piece,) = sound(tmp_path / "a.wav", DECODING)
    assert np.abs(piece.sound).max() == pytest.approx(0.5, abs=0.02)


def test_all_voices_on_many_channels_are_heard(tmp_path):
    third = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    (tmp_path / "a.wav").write_bytes(pcm(TONE, NONE, OTHER, -OTHER, third))
    (piece,) = sound(tmp_path / "a.wav", DECODING)
    assert set(np.argsort(np.abs(np.fft.rfft(piece.sound)))[-3:]) == {440, 700, 1000}


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
