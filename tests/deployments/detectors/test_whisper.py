import itertools
from dataclasses import replace

import av
import numpy as np
import pytest
from pydantic import ValidationError

from cluster.records import SOUND_RATE_HZ, Detection, Sample
from deployments import events
from deployments.detectors.whisper import Whisper, WhisperConfig
from deployments.models import runtime, speech
from deployments.models.speech import Passage, Word, sentences
from deployments.weights import copies
from tests.deployments.detectors.test_contract import MEDIA, on_media, read_only, real
from tests.support.models import tiny_speech

HALVES = WhisperConfig().model.split(runtime.JOINT)[:2]
VOICE = WhisperConfig().model.split(runtime.JOINT)[2]
PYANNOTE = "package:whisperx==3.8.7rc1/whisperx/assets/pytorch_model.bin"
BASE = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"


def on_base(folder, **settings):
    """The gpu backend on the packaged multilingual base, its halves joined."""
    whole = speech.joined(*runtime.weights(runtime.JOINT.join(HALVES), 2), folder, BASE)
    return WhisperConfig(backend="gpu", model=f"file:{whole}{runtime.JOINT}{VOICE}", **settings)


TRIED = {"gpu": on_base}
SECOND = Sample(sound=np.zeros(SOUND_RATE_HZ, np.float32))


def stand_in(samples):
    said = Passage((Word(" Hello", 0.0, 0.0, 0.9), Word(" there.", 0.0, 0.0, 0.4)), 0.1, -0.3, 1.0)
    return [[said] for _ in samples]


def words(text, step_s=0.5):
    return [Word(f" {word}", i * step_s, (i + 1) * step_s, 0.8) for i, word in enumerate(text.split())]


def heard(passages, **settings):
    return Whisper(WhisperConfig(**settings), infer=lambda samples: [passages]).detect([SECOND])[0]


def test_a_sentence_has_its_text_span_and_score():
    said = (Word(" Hello", 1.0, 1.5, 0.9), Word(" there.", 1.5, 2.0, 0.4))
    assert heard([Passage(said, 0.1, -0.3, 1.0)]) == [
        Detection("speech", pytest.approx(0.6), span=(1.0, 2.0), text="Hello there.")
    ]


def test_a_sentence_across_two_passages_is_joined():
    first, second = words("ask what you can do for you.")[:4], words("ask what you can do for you.")[4:]
    found = heard([Passage(tuple(first), 0.1, -0.3, 1.0), Passage(tuple(second), 0.1, -0.3, 1.0)])
    assert [detection.text for detection in found] == ["ask what you can do for you."]


def test_a_passage_with_no_speech_and_unsure_words_is_dropped():
    said = tuple(words("Thanks for watching."))
    assert heard([Passage(said, 0.7, -1.1, 1.0)]) == []
    assert len(heard([Passage(said, 0.7, -0.9, 1.0)])) == 1, "sure of its words"
    assert len(heard([Passage(said, 0.5, -1.1, 1.0)])) == 1, "sure of speech"


def test_a_repetitive_text_is_dropped():
    said = tuple(words("so so so so so so."))
    assert heard([Passage(said, 0.1, -0.3, 2.5)]) == []
    assert len(heard([Passage(said, 0.1, -0.3, 2.4)])) == 1


def test_dropped_passages_are_counted_by_reason():
    before = events.counts()
    said = tuple(words("so it goes."))
    silence, loop, unsure = Passage(said, 0.7, -1.1, 1.0), Passage(said, 0.1, -0.3, 9.9), Passage(said, 0.1, -0.3, 1.0)
    assert heard([silence, loop, loop, unsure], floor=0.9) == []
    dropped = {event: n - before.get(event, 0) for event, n in events.counts().items()}
    reasons = {"no speech": 1, "a loop": 2, "unsure": 1}
    assert {reason: dropped[f"whisper: dropped as {reason}"] for reason in reasons} == reasons


def test_a_sentence_ends_at_a_change_of_speaker_and_its_evidence_names_the_speaker():
    said = [replace(word, speaker=who) for word, who in zip(words("well no I think"), "AABB", strict=True)]
    assert [(one.text, one.evidence) for one in heard([Passage(tuple(said), 0.1, -0.3, 1.0)])] == [
        ("well no", "speaker A"),
        ("I think", "speaker B"),
    ]


def test_without_diarization_and_languages_there_is_no_evidence():
    assert heard([Passage(tuple(words("well no.")), 0.1, -0.3, 1.0)])[0].evidence is None


def test_a_sentence_ends_where_the_language_changes_and_its_evidence_names_the_language():
    said = [
        replace(word, language=code, language_probability=0.97)
        for word, code in zip(words("well no ya veo"), ("en", "en", "es", "es"), strict=True)
    ]
    assert [(one.text, one.evidence) for one in heard([Passage(tuple(said), 0.1, -0.3, 1.0)])] == [
        ("well no", "language en 0.97"),
        ("ya veo", "language es 0.97"),
    ]


def test_models_of_alignment_and_diarization_are_part_of_the_version():
    plain = WhisperConfig(backend="gpu")
    more = WhisperConfig(backend="gpu", align={"fr": "file:/fr", "en": "file:/en"}, diarize="file:/who")
    assert Whisper.version(plain) == f"{plain.model}; language of each stretch"
    now = Whisper.version(plain)
    assert Whisper.version(more) == f"{now}; align en file:/en; align fr file:/fr; speakers file:/who"


@pytest.mark.parametrize("given", [{"align": {"en": "file:/en"}}, {"diarize": "file:/who"}])
def test_settings_of_the_gpu_backend_are_refused_for_the_other(given):
    with pytest.raises(ValidationError, match="set backend to gpu"):
        WhisperConfig(**given)


def test_a_sentence_below_the_floor_is_left_out():
    assert heard([Passage((Word(" mumble", 0, 1, 0.05),), 0.1, -0.3, 1.0)]) == []


def test_a_sentence_ends_at_its_full_stop_in_any_script():
    said = [*words('He said "no." Then he left!'), Word("你好。", 9.0, 9.5, 1), Word("再见", 9.5, 9.9, 1)]
    texts = ["".join(word.text for word in one).strip() for one in sentences(said, pause_s=1000, sentence_s=1000)]
    assert texts == ['He said "no."', "Then he left!", "你好。", "再见"]


def test_a_sentence_ends_at_a_pause():
    said = [Word(" one", 0, 1, 1), Word(" two", 1.9, 2, 1), Word(" three", 3.0, 4, 1)]
    assert [len(one) for one in sentences(said, pause_s=1.0, sentence_s=100)] == [2, 1]


def test_a_long_sentence_is_cut():
    lengths = [len(one) for one in sentences(words("and " * 100), pause_s=1.0, sentence_s=20)]
    assert lengths == [40, 40, 20]


def test_without_words_there_is_no_sentence():
    assert list(sentences([], 1, 1)) == []


def sound(path):
    with av.open(str(MEDIA / path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE_HZ)
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return Sample(sound=read_only(np.concatenate(pieces)))


def plain(found):
    said = " ".join(detection.text for detection in found).lower()
    return "".join(letter for letter in said if letter.isalnum() or letter == " ")


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestBothBackends:
    def test_both_backends_transcribe_the_sample_with_the_same_fields(self):
        (small,), (large,) = (real("whisper", backend).detect([Whisper.example()]) for backend in ("embedded", "gpu"))
        assert [one.text for one in small] == ["The police officer put the suspect in handcuffs near the main gate."]
        for one, other in zip(small, large, strict=True):
            assert replace(one, score=0, span=None) == replace(other, score=0, span=None)
            assert one.score == pytest.approx(other.score, abs=0.1)
            assert one.span == pytest.approx(other.span, abs=0.3)

    def test_pieces_decoded_in_one_batch_have_the_times_of_the_sound(self):
        said = Whisper.example().sound
        apart = np.zeros(30 * SOUND_RATE_HZ, np.float32)
        (once,), (found,) = (
            real("whisper", "gpu").detect([Sample(sound=one)]) for one in (said, np.r_[said, apart, said])
        )
        shift = (len(said) + len(apart)) / SOUND_RATE_HZ
        assert [one.text for one in found] == [once[0].text] * 2
        assert found[0].span == pytest.approx(once[0].span, abs=0.1)
        assert found[1].span == pytest.approx([at + shift for at in once[0].span], abs=0.3)

    def test_words_are_aligned_by_a_model_of_their_language_and_assigned_to_speakers(self, tmp_path):
        who = tiny_speech.diarizer(tmp_path, runtime.weights(PYANNOTE)[0])
        config = on_base(
            tmp_path,
            align={"en": f"file:{tiny_speech.wav2vec2(tmp_path)}"},
            diarize=f"file:{who}#sha256={copies.digest(who)}",  # pickles
        )
        (before,), (found,) = (one.detect([Whisper.example()]) for one in (real("whisper", "gpu"), Whisper(config)))
        length_s = len(Whisper.example().sound) / SOUND_RATE_HZ
        assert " ".join(one.text for one in found) == before[0].text
        assert [one.span for one in found] != [one.span for one in before]
        assert all(0 <= one.span[0] <= one.span[1] <= length_s + 0.1 for one in found)
        assert {one.evidence.split(",")[0] for one in found} <= {f"speaker SPEAKER_0{n}" for n in range(3)}


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestTelemetry:
    def test_nothing_is_reported_to_the_makers_of_the_voice_activity_detector(self):
        real("whisper")
        with runtime.quiet():  # about a missing decoder of files
            from pyannote.audio.telemetry.metrics import is_metrics_enabled

        assert not is_metrics_enabled()


class TestOnMedia:
    pytestmark = on_media

    def test_transcribes_a_famous_sentence_at_its_time(self):
        sample = sound("speech/jfk.flac")
        (found,) = real("whisper").detect([sample])
        assert plain(found) == (
            "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
        )
        assert len(found) == 2, "split at the pause after 'Americans'"
        assert found[0].span == pytest.approx((0.3, 2.2), abs=0.4) and found[1].span == pytest.approx(
            (3.3, 10.4), abs=0.4
        )

    @pytest.mark.parametrize("backend", ["embedded", "gpu"])
    def test_french_is_recognised_and_transcribed(self, backend):
        (found,) = real("whisper", backend).detect([sound("speech/french.aiff")])
        assert "dictée numéro" in plain(found)

    @pytest.mark.parametrize(
        ("file", "said"),
        [
            ("new-home-in-the-stars-16k.wav", "we must find a new home in the stars"),
            ("sb_spk1_snt1.wav", "the child almost hurt the small dog"),
            ("sb_spk1_snt3.wav", "at that high level the air is pure"),
        ],
    )
    def test_transcribes_speech(self, file, said):
        (found,) = real("whisper").detect([sound(f"speech/{file}")])
        assert plain(found) == said

    def test_a_conversation_is_split_into_sentences(self):
        (found,) = real("whisper").detect([sound("speech/pyannote_two_speakers.wav")])
        assert len(found) >= 8 and "diane in new jersey" in plain(found)
        assert found[0].span[0] > 6, "nobody speaks before"
        assert all(earlier.span[1] <= later.span[0] + 0.01 for earlier, later in itertools.pairwise(found))

    def test_each_piece_has_its_own_language(self):
        english, french = sound("speech/jfk.flac").sound, sound("speech/french.aiff").sound
        mixed = np.r_[english, np.zeros(20 * SOUND_RATE_HZ, np.float32), french]
        (found,) = real("whisper", "gpu").detect([Sample(sound=mixed)])
        assert "ask what you can do for your country" in plain(found) and "dictée numéro" in plain(found)
        assert found[-1].score > 0.6, "its words are likely in French"

    def test_a_second_language_after_a_short_pause_is_heard_in_that_language(self):
        parts = [sound(f"speech/{name}").sound for name in ("jfk.flac", "french.aiff", "sb_spk1_snt1.wav")]
        pause = np.zeros(SOUND_RATE_HZ, np.float32)
        (found,) = real("whisper").detect([Sample(sound=np.concatenate([parts[0], pause, parts[1], pause, parts[2]]))])
        assert [one.text for one in found[1:]] == [
            "ask not what your country can do for you, ask what you can do for your country.",
            "et c'est la dictée numéro 1.",
            "The child almost hurt the small dog.",
        ]
        assert [one.evidence.split()[1] for one in found] == ["en", "en", "fr", "en"]

    @pytest.mark.parametrize("backend", ["embedded", "gpu"])
    @pytest.mark.parametrize("kind", ["silence", "noise", "loud noise", "sine", "chord"])
    def test_sounds_without_speech_have_no_sentence(self, kind, backend):
        t = np.arange(20 * SOUND_RATE_HZ) / SOUND_RATE_HZ
        rng = np.random.default_rng(0)
        made = {
            "silence": np.zeros_like(t),
            "noise": rng.normal(0, 0.05, len(t)),
            "loud noise": rng.normal(0, 0.5, len(t)),
            "sine": 0.3 * np.sin(2 * np.pi * 440 * t),
            "chord": sum(0.1 * np.sin(2 * np.pi * hz * t) * (1 + np.sin(3 * t)) for hz in (220, 277, 330, 440)),
        }[kind]
        assert real("whisper", backend).detect([Sample(sound=made.clip(-1, 1).astype(np.float32))]) == [[]]
