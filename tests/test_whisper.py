import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from test_detectors import MEDIA, on_media, read_only, real

from cluster.errors import SettingsError
from cluster.records import SOUND_RATE_HZ, Detection, Sample
from deployments.detectors.whisper import Passage, Whisper, WhisperConfig, Word, joined, sentences

SECOND = Sample(sound=np.zeros(SOUND_RATE_HZ, np.float32))


def stand_in(samples):
    said = Passage((Word(" Hello", 0.0, 0.0, 0.9), Word(" there.", 0.0, 0.0, 0.4)), 0.1, -0.3, 1.0)
    return [[said] for _ in samples]


def words(text, step_s=0.5):
    return [Word(f" {word}", i * step_s, (i + 1) * step_s, 0.8) for i, word in enumerate(text.split())]


def heard(passages, **settings):
    return Whisper(WhisperConfig(**settings), infer=lambda samples: [passages]).detect([SECOND])[0]


def test_gives_a_sentence_its_text_its_span_and_its_certainty():
    said = (Word(" Hello", 1.0, 1.5, 0.9), Word(" there.", 1.5, 2.0, 0.4))
    assert heard([Passage(said, 0.1, -0.3, 1.0)]) == [
        Detection("speech", pytest.approx(0.6), span=(1.0, 2.0), text="Hello there.")
    ]


def test_joins_a_sentence_that_runs_over_two_passages():
    first, second = words("ask what you can do for you.")[:4], words("ask what you can do for you.")[4:]
    found = heard([Passage(tuple(first), 0.1, -0.3, 1.0), Passage(tuple(second), 0.1, -0.3, 1.0)])
    assert [detection.text for detection in found] == ["ask what you can do for you."]


def test_drops_what_the_model_takes_for_silence_and_is_unsure_of():
    said = tuple(words("Thanks for watching."))
    assert heard([Passage(said, 0.7, -1.1, 1.0)]) == []
    assert len(heard([Passage(said, 0.7, -0.9, 1.0)])) == 1, "sure of its words"
    assert len(heard([Passage(said, 0.5, -1.1, 1.0)])) == 1, "sure of speech"


def test_drops_a_text_that_repeats_itself():
    said = tuple(words("so so so so so so."))
    assert heard([Passage(said, 0.1, -0.3, 2.5)]) == []
    assert len(heard([Passage(said, 0.1, -0.3, 2.4)])) == 1


def test_leaves_out_a_sentence_below_the_floor():
    assert heard([Passage((Word(" mumble", 0, 1, 0.05),), 0.1, -0.3, 1.0)]) == []


def test_a_sentence_ends_at_its_full_stop_in_any_script():
    said = [*words('He said "no." Then he left!'), Word("你好。", 9.0, 9.5, 1), Word("再见", 9.5, 9.9, 1)]
    texts = ["".join(word.text for word in one).strip() for one in sentences(said, pause_s=1000, sentence_s=1000)]
    assert texts == ['He said "no."', "Then he left!", "你好。", "再见"]


def test_a_sentence_ends_at_a_pause():
    said = [Word(" one", 0, 1, 1), Word(" two", 1.9, 2, 1), Word(" three", 3.0, 4, 1)]
    assert [len(one) for one in sentences(said, pause_s=1.0, sentence_s=100)] == [2, 1]


def test_a_sentence_without_end_is_cut():
    lengths = [len(one) for one in sentences(words("and " * 100), pause_s=1.0, sentence_s=20)]
    assert lengths == [40, 40, 20]


def test_no_words_are_no_sentence():
    assert list(sentences([], 1, 1)) == []


@pytest.fixture
def halves(tmp_path):
    first, second, folder = (tmp_path / name for name in ("first", "second", "whole"))
    for one in (first, second, folder):
        one.mkdir()
    (first / "model.bin.part1").write_bytes(b"who")
    (second / "model.bin.part2").write_bytes(b"le")
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (first / name).write_text(name)
    return first, second, folder


def test_joins_a_model_of_two_halves_once(halves):
    sha256 = hashlib.sha256(b"whole").hexdigest()
    folder = joined(*halves, sha256)
    assert list(halves[2].iterdir()) == [folder]
    assert (folder / "model.bin").read_bytes() == b"whole"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    made = (folder / "model.bin").stat()
    joined(*halves, sha256)
    assert (folder / "model.bin").stat().st_mtime_ns == made.st_mtime_ns


def test_many_may_join_it_at_once(halves):
    sha256 = hashlib.sha256(b"whole").hexdigest()
    with ThreadPoolExecutor(8) as at_once:
        folders = set(at_once.map(lambda _: joined(*halves, sha256), range(32)))
    assert len(folders) == 1 and list(halves[2].iterdir()) == list(folders)


def test_a_joined_model_that_is_not_what_was_packaged_is_refused(halves):
    with pytest.raises(SettingsError, match="does not hold the model that was packaged"):
        joined(*halves, "0" * 64)


def sound(path):
    with av.open(str(MEDIA / path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE_HZ)
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return Sample(sound=read_only(np.concatenate(pieces)))


def plain(found):
    said = " ".join(detection.text for detection in found).lower()
    return "".join(letter for letter in said if letter.isalnum() or letter == " ")


class TestWithWeights:
    pytestmark = on_media

    def test_writes_down_a_famous_sentence_where_it_was_said(self):
        sample = sound("speech/jfk.flac")
        (found,) = real("whisper").detect([sample])
        assert plain(found) == (
            "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
        )
        assert len(found) == 2, "parted at the pause after 'Americans'"
        assert found[0].span == pytest.approx((0.3, 2.2), abs=0.4) and found[1].span == pytest.approx(
            (3.3, 10.4), abs=0.4
        )

    def test_reports_nothing_to_the_makers_of_the_voice_detector(self):
        real("whisper")
        from pyannote.audio.telemetry.metrics import is_metrics_enabled

        assert not is_metrics_enabled()

    def test_recognises_french_and_writes_it(self):
        (found,) = real("whisper").detect([sound("speech/french.aiff")])
        assert "dictée numéro" in plain(found)

    @pytest.mark.parametrize(
        ("file", "said"),
        [
            ("new-home-in-the-stars-16k.wav", "we must find a new home in the stars"),
            ("sb_spk1_snt1.wav", "the child almost hurt the small dog"),
            ("sb_spk1_snt3.wav", "at that high level the air is pure"),
        ],
    )
    def test_writes_down_what_was_said(self, file, said):
        (found,) = real("whisper").detect([sound(f"speech/{file}")])
        assert plain(found) == said

    def test_a_conversation_comes_in_sentences(self):
        (found,) = real("whisper").detect([sound("speech/pyannote_two_speakers.wav")])
        assert len(found) >= 8 and "diane in new jersey" in plain(found)
        assert found[0].span[0] > 6, "nobody speaks before"
        assert all(earlier.span[1] <= later.span[0] + 0.01 for earlier, later in itertools.pairwise(found))

    @pytest.mark.parametrize("kind", ["silence", "noise", "loud noise", "sine", "chord"])
    def test_hears_no_speech_where_there_is_none(self, kind):
        t = np.arange(20 * SOUND_RATE_HZ) / SOUND_RATE_HZ
        rng = np.random.default_rng(0)
        made = {
            "silence": np.zeros_like(t),
            "noise": rng.normal(0, 0.05, len(t)),
            "loud noise": rng.normal(0, 0.5, len(t)),
            "sine": 0.3 * np.sin(2 * np.pi * 440 * t),
            "chord": sum(0.1 * np.sin(2 * np.pi * hz * t) * (1 + np.sin(3 * t)) for hz in (220, 277, 330, 440)),
        }[kind]
        assert real("whisper").detect([Sample(sound=made.clip(-1, 1).astype(np.float32))]) == [[]]
