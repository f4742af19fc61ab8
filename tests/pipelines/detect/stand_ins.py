"""Stand-ins for detectors and decoding, and media files for the tests of this folder."""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from PIL import Image

from cluster.records import Detection, Failure, MediaItem, ModelVersion, Sample, Segment, Vector
from cluster.settings import Decoding
from deployments.detector import DetectorAway, DetectorResponse
from pipelines.detect.detecting import File, analyze
from pipelines.media import decoding

RED, BLUE = (200, 20, 20), (20, 20, 200)


class StandIn:
    """Detectors: `eye` labels and reads a picture's colour, `ear` reports a sound's length, `words` embeds texts."""

    takes: ClassVar = {"image": {"eye"}, "sound": {"ear"}, "text": {"words"}}

    def __init__(self, failing: Iterable[str] = (), away: Iterable[str] = (), **other: ModelVersion) -> None:
        names = sorted(set().union(*self.takes.values()))
        self.model_versions = {name: ModelVersion(name, f"{name}-1", 0.5) for name in names} | other
        self.states = dict.fromkeys(names, "as it was")
        self.failing = failing
        self.gone = frozenset(away)
        self.asked: list[tuple[str, int]] = []
        self.texts: list[str] = []

    def taking(self, modality: str) -> set[str]:
        return self.takes[modality]

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        names = sorted(names)
        self.asked += [(name, len(samples)) for name in names]
        answered = {}
        for name in sorted(set(names) - self.gone):
            failure = Failure(name, "it is tired")
            found = [failure if name in self.failing else self._answer(name, one) for one in samples]
            answered[name] = DetectorResponse(found, seconds=len(samples), gpu_seconds=len(samples) / 2)
        if gone := self.gone & set(names):
            raise DetectorAway(", ".join(sorted(gone)), answered)
        return answered

    def _answer(self, name: str, sample: Sample) -> list[Detection]:
        if sample.pixels is not None:
            colour = "red" if sample.pixels[..., 0].mean() > 100 else "blue"
            look = (Vector("image", (1.0, 0.0)),)
            return [
                Detection(colour, 0.75, box=(0, 0, 1, 1), vectors=look),
                Detection("text", 0.5, text=f"this is {colour}"),
                Detection("text", 0.5, text="indeed"),
            ]
        if sample.sound is not None:
            return [Detection("speech", 0.75, span=(0.5, 1.0), text="hello")]
        self.texts.append(str(sample.text))
        return [Detection("text", 1.0, vectors=(Vector("text", (0.0, 1.0)),))]


class InProcess:
    """Decoding in this process; counts its calls."""

    def __init__(self) -> None:
        self.decoded = 0

    def probe(self, source, limits):
        kind = decoding.sniff(source)
        return kind, decoding.probe(source, kind, limits)

    def frames(self, source, kind, limits, segment=None, with_thumbnail=False):
        self.decoded += 1
        return decoding.frames(source, kind, limits, segment, with_thumbnail)

    def sound(self, source, limits, segment=None):
        return decoding.sound(source, limits, segment)

    def texts(self, source, kind, limits, segment=None):
        return decoding.texts(source, kind, limits, segment)


def files(paths: Iterable[Path], wanted: Iterable[str], segment: Segment | None = None) -> list[File]:
    return [
        File(
            MediaItem(p.as_uri(), p.stat().st_size, "e"),
            p,
            hashlib.sha256(p.read_bytes()).hexdigest(),
            frozenset(wanted),
            segment,
        )
        for p in paths
    ]


ALL = ("eye", "ear", "words")


def run(paths, detectors, wanted=ALL, cache=None, decoder=None, segment=None, stored=True, **limits):
    going = files(paths, wanted, segment)
    return asyncio.run(analyze(going, detectors, decoder or InProcess(), Decoding(**limits), cache, stored))


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (64, 48), colour).save(path)
    return path


def film(path: Path, colours: list[tuple[int, int, int]], sound_s: float = 0) -> Path:
    """One second of each colour, and a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=16_000, layout="mono") if sound_s else None
        for colour in colours:
            card = np.full((48, 64, 3), colour, np.uint8)
            for _ in range(10):
                out.mux(video.encode(av.VideoFrame.from_ndarray(card, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(int(16_000 * sound_s)) / 5).astype(np.float32)[None] * 0.3
            heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            heard.sample_rate = 16_000
            out.mux(audio.encode(heard))
            out.mux(audio.encode())
    return path


class Warned(StandIn):
    """`words` also reports a cue for red, found in the text itself."""

    def _answer(self, name: str, sample: Sample) -> list[Detection]:
        found = super()._answer(name, sample)
        warned = sample.text is not None and "red" in sample.text
        return found + ([Detection("warning", 0.5, text="RED", evidence="read")] if warned else [])
