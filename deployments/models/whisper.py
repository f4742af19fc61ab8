"""Whisper (Radford et al. 2022, arXiv:2212.04356) in CTranslate2: from pieces of speech to their words."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.records import SOUND_RATE_HZ
from deployments.models import languages, runtime, speech
from deployments.models.languages import Language
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

    Pieces are decoded in batches at temperature 0, so that the same sound always has the same text. A piece in which
    languages change is cut there (languages.py), and each piece is decoded in the language that is detected in it.
    WhisperX's own loop decodes a whole file in the language of its first 30 s, and
    discards the probability of no speech. `align` may time words better than Whisper's cross-attention.
    """

    def __init__(self, model: Any, beams: int, batch: int, align: Align) -> None:
        self._model, self._beams, self._batch, self._align = model, beams, batch, align
        self._silent: languages.Encoded | None = None

    def __call__(self, sound: speech.Sound) -> list[Passage]:
        """The passages, in order; none without speech."""
        return runtime.in_batches(speech.pieces(sound), self._batch, self._decoded)

    def _decoded(self, pieces: Sequence[Piece]) -> Iterator[Passage]:
        from faster_whisper.transcribe import get_compression_ratio

        encoded = self._encoded(pieces)
        if self._model.model.is_multilingual:
            pieces, encoded = self._cut(pieces, encoded)
        told = self._told(encoded, len(pieces))
        outputs = self._model.model.generate(
            encoded,
            [
                [*tokenizer.sot_sequence, tokenizer.no_timestamps]
                for tokenizer in (self._tokenizer(one.code) for one in told)
            ],
            beam_size=self._beams,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = [output.sequences_ids[0] for output in outputs]
        timed = {language: self._words(language, encoded, tokens, pieces) for language in {one.code for one in told}}
        for n, (piece, output, language) in enumerate(zip(pieces, outputs, told, strict=True)):
            words = [
                replace(_in_sound(word, piece), language=language.code, language_probability=language.probability)
                for word in self._align(timed[language.code][n], language.code, piece.sound)
            ]
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

    def _cut(self, pieces: Sequence[Piece], encoded: Any) -> tuple[list[Piece], Any]:
        """The pieces, each cut where its language changes, and the encoder's output for all of them."""
        import ctranslate2

        outputs = np.asarray(self._on_cpu(encoded))
        found: list[Piece] = []
        kept: list[npt.NDArray[np.float32]] = []
        for n, piece in enumerate(pieces):
            output = outputs[n : n + 1]
            parts = languages.runs(piece, output, self._silence, self._chances)
            if len(parts) > 1:
                apart = [np.asarray(self._on_cpu(self._encoded([part]))) for part in parts]
                # encoded alone, all parts may turn out to be in one language: then the piece stays whole
                if len({languages.likeliest(self._chances(one)).code for one in apart}) > 1:
                    found += parts
                    kept += apart
                    continue
            found.append(piece)
            kept.append(output)
        if len(found) == len(pieces):
            return found, encoded
        return found, ctranslate2.StorageView.from_array(np.concatenate(kept))

    def _chances(self, encoded: languages.Encoded) -> dict[str, float]:
        import ctranslate2

        (told,) = self._model.model.detect_language(ctranslate2.StorageView.from_array(encoded))
        return {code.strip("<|>"): probability for code, probability in told}

    def _silence(self) -> languages.Encoded:
        if self._silent is None:
            second = np.zeros(SOUND_RATE_HZ, np.float32)
            self._silent = np.asarray(self._on_cpu(self._encoded([Piece(second, ((0.0, 1.0),))])))
        return self._silent

    def _on_cpu(self, encoded: Any) -> Any:
        import ctranslate2

        return encoded.to_device(ctranslate2.Device.cpu) if self._model.model.device == "cuda" else encoded

    def _told(self, encoded: Any, n: int) -> list[Language]:
        """The language of each piece."""
        if not self._model.model.is_multilingual:
            return [Language("en", 1.0)] * n
        first = (likely[0] for likely in self._model.model.detect_language(encoded))
        return [Language(code.strip("<|>"), probability) for code, probability in first]

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
