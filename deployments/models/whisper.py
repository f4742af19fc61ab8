"""Whisper (Radford et al. 2022, arXiv:2212.04356) in CTranslate2: from pieces of speech to their words."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.models import runtime, speech
from deployments.models.speech import Passage, Piece, Word

# part of the word after it, and before it, as faster-whisper has it
PUNCTUATION = ("\"'\u201c\u00bf([{-", "\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001")

Align = Callable[[Sequence[Word], str, speech.Sound], list[Word]]  # words, the code of their language, their sound


def load(folder: Path, device: str) -> Any:
    """The model as faster-whisper's WhisperModel, which is the one that WhisperX runs.

    whisperx.load_model would import pyannote and torch for it, which takes 14 s of a core.
    """
    speech.disable_telemetry()
    with runtime.quiet():
        import faster_whisper

        return faster_whisper.WhisperModel(
            str(folder),
            device=device,
            compute_type="float16" if device == "cuda" else "int8",
            cpu_threads=1,
            local_files_only=True,
        )


class Decoder:
    """The passages of a sound, one for each piece of speech in it.

    Pieces are decoded in batches at temperature 0, so that the same sound always has the same text, each in the
    language that is detected in it. WhisperX's own loop decodes a whole file in the language of its first 30 s, and
    discards the probability of no speech. `align` may time words better than Whisper's cross-attention.
    """

    def __init__(self, model: Any, beams: int, batch: int, align: Align) -> None:
        self._model, self._beams, self._batch, self._align = model, beams, batch, align

    def __call__(self, sound: speech.Sound) -> list[Passage]:
        """The passages, in order; none without speech."""
        return runtime.in_batches(speech.pieces(sound), self._batch, self._decoded)

    def _decoded(self, pieces: Sequence[Piece]) -> Iterator[Passage]:
        from faster_whisper.transcribe import get_compression_ratio

        encoded = self._encoded(pieces)
        languages = self._languages(encoded, len(pieces))
        outputs = self._model.model.generate(
            encoded,
            [[*tokenizer.sot_sequence, tokenizer.no_timestamps] for tokenizer in map(self._tokenizer, languages)],
            beam_size=self._beams,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = [output.sequences_ids[0] for output in outputs]
        timed = {language: self._words(language, encoded, tokens, pieces) for language in set(languages)}
        for n, (piece, output, language) in enumerate(zip(pieces, outputs, languages, strict=True)):
            words = [_in_sound(word, piece) for word in self._align(timed[language][n], language, piece.sound)]
            text = "".join(word.text for word in words)
            # CTranslate2's score leaves the final token out of the length
            mean_logprob = output.scores[0] * len(tokens[n]) / (len(tokens[n]) + 1)
            yield Passage(
                tuple(words), output.no_speech_prob, mean_logprob, get_compression_ratio(text) if text else 0.0
            )

    def _encoded(self, pieces: Sequence[Piece]) -> Any:
        """The encoder's output (n, 1500, d).

        A CPU encodes piece by piece: a batch of 8 takes a fifth more time there, and 700 MB.
        """
        import ctranslate2
        from faster_whisper.audio import pad_or_trim

        features = np.stack([pad_or_trim(self._model.feature_extractor(piece.sound)[..., :-1]) for piece in pieces])
        if self._model.model.device == "cuda":
            return self._model.encode(features)
        singly: list[npt.NDArray[np.float32]] = [np.asarray(self._model.encode(one)) for one in features]
        return ctranslate2.StorageView.from_array(np.concatenate(singly))

    def _languages(self, encoded: Any, n: int) -> list[str]:
        """The code of each piece's language."""
        if not self._model.model.is_multilingual:
            return ["en"] * n
        return [likely[0][0].strip("<|>") for likely in self._model.model.detect_language(encoded)]

    def _words(
        self, language: str, encoded: Any, tokens: Sequence[Sequence[int]], pieces: Sequence[Piece]
    ) -> list[list[Word]]:
        """The words of every piece with its times and probabilities, tokenised as words of that language."""
        lengths = [len(piece.sound) / self._model.feature_extractor.sampling_rate for piece in pieces]
        made = [
            [{"tokens": some, "start": 0.0, "end": length, "seek": 0}]
            for some, length in zip(tokens, lengths, strict=True)
        ]
        frames = [math.ceil(length) * self._model.frames_per_second for length in lengths]
        self._model.add_word_timestamps(made, self._tokenizer(language), encoded, frames, *PUNCTUATION, 0.0)
        return [
            [Word(word["word"], word["start"], word["end"], float(word["probability"])) for word in one["words"]]
            for (one,) in made
        ]

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=language)


def _in_sound(word: Word, piece: Piece) -> Word:
    start_s, end_s = piece.heard(word.start_s, word.end_s)
    return replace(word, start_s=start_s, end_s=end_s)
