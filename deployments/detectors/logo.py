"""Logos that the operator has shown: where a picture shows them, and where their names are read or said."""

import io
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, UnidentifiedImageError
from pydantic import Field

from cluster.galleries import Gallery, Reference
from cluster.records import Box, Detection, Modality, Sample
from deployments import backends, open_vocabulary
from deployments.boxes import area, overlap
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.matching import LEAST_INLIERS, Features, Matcher, Place, described
from deployments.open_vocabulary import OpenVocabulary, Pixels
from deployments.wording import told

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S = 5.0  # between looks at the gallery
SELF_TEST = "raysift self-test"


class LogoConfig(DetectorConfig):
    """What is looked for is what `raysift logos add` has put into the gallery; an empty gallery finds nothing.

    Drawn, textured logos are found well, flat ones poorly: their names, read as text, are looked for too. The values of
    `gpu` are not measured.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": "orb-1"},  # a method without weights
        "gpu": {
            "model": open_vocabulary.MODEL,
            "together": "open_vocabulary",
            "gpu_memory_gb": 2.0,
            "floor": 0.3,
        },
    }

    cpus: float = Field(0.2, gt=0)
    gallery: str = ""
    batch: int = Field(8, ge=1)  # pictures in one pass of `gpu`
    word_score: float = Field(0.5, ge=0, le=1)  # of a name in a text: where it is sorted, no probability
    word_letters: int = Field(3, ge=1)  # shorter names are not looked for in texts


@dataclass(frozen=True, slots=True)
class Mark:
    """A logo in a picture."""

    name: str
    score: float
    box: Box
    evidence: str


class _Shown(Generic[T]):
    """The gallery as it is now: looked at again at most every LOOK_S, only new pictures prepared."""

    def __init__(
        self, uri: str, prepare: Callable[[Image.Image], T], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._gallery = _gallery(uri) if uri else None
        self._prepare, self._now = prepare, now
        self._known: dict[Reference, T] = {}
        self._looked = -math.inf
        self.current()

    def current(self) -> dict[Reference, T]:
        """What was prepared of each picture; the same object for as long as the gallery stays as it is."""
        if self._gallery is None or self._now() - self._looked < LOOK_S:
            return self._known
        self._looked = self._now()
        try:
            references = self._gallery.references()
            if set(references) != set(self._known):
                old = self._known
                self._known = {one: old[one] if one in old else self._prepared(one) for one in references}
        except OSError as error:
            log.warning("the gallery %s stays as it was: %s", self._gallery.uri, error)
        return self._known

    def _prepared(self, reference: Reference) -> T:
        assert self._gallery is not None
        try:
            with Image.open(io.BytesIO(self._gallery.read(reference))) as picture:
                return self._prepare(picture.convert("RGBA"))
        except (UnidentifiedImageError, Image.DecompressionBombError):
            log.warning("%s of the gallery %s is no picture", reference.file, self._gallery.uri)
            return self._prepare(Image.new("RGBA", (1, 1)))  # is found nowhere


class _Orb:
    """ORB features that agree on a place (deployments/matching.py): list[Sample] -> list[list[Mark]].

    A score is n / (n + 7) for n features that agree: 0.5 for the fewest that are believed.
    """

    side_px, pad_px = 256, 24
    grounds = (255, 20)  # what transparent parts are put on: features of its outline are of a light or a dark ground

    def __init__(self, config: LogoConfig) -> None:
        self._shown = _Shown(config.gallery, self._features)
        self._known: dict[Reference, Features] = {}
        self._matcher = Matcher([])
        self._own = Matcher([self._features(_mark())])

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        if (known := self._shown.current()) is not self._known:
            self._known, self._matcher = known, Matcher(list(known.values()))
        return [self._marks(np.asarray(sample.pixels)) for sample in samples]

    def _marks(self, pixels: Pixels) -> list[Mark]:
        own = _is_example(pixels)
        if not own and not self._known:
            return []
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        places = (self._own if own else self._matcher).places(grey)
        shown = [Reference(SELF_TEST, "itself", "")] if own else list(self._known)
        return [self._mark(place, shown[place.reference], grey.shape) for place in places]

    def _mark(self, place: Place, shown: Reference, shape: tuple[int, ...]) -> Mark:
        corners = (place.corners / (shape[1], shape[0])).clip(0, 1)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        score = place.inliers / (place.inliers + LEAST_INLIERS)
        evidence = f"{place.inliers} of {place.matches} features agree with {shown.file}, at {place.scale:g}x"
        return Mark(shown.name, score, (float(left), float(top), float(right), float(bottom)), evidence)

    def _features(self, picture: Image.Image) -> Features:
        scale = min(1.0, self.side_px / max(picture.size))
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
        return described([_flat(picture, ground, self.pad_px) for ground in self.grounds], self.pad_px)


class _Owlv2:
    """OWLv2, asked by example: list[Sample] -> list[list[Mark]]. What it finds it looks at again from near.

    A region counts when its own crop, enlarged to the network's whole input, is like the same example once more.
    """

    def __init__(self, config: LogoConfig) -> None:
        key = f"open vocabulary {config.model}"
        self._network = backends.shared(key, lambda: OpenVocabulary(config.model, config.batch))
        self._floor = config.floor
        self._shown = _Shown(config.gallery, self._example)

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        known = self._shown.current()
        return [self._marks(np.asarray(sample.pixels), known) for sample in samples]

    def _marks(self, pixels: Pixels, known: Mapping[Reference, Pixels]) -> list[Mark]:
        if _is_example(pixels):
            known = {Reference(SELF_TEST, "itself", ""): self._example(_mark())}
        shown, examples = list(known), list(known.values())
        if not examples:
            return []
        (regions,) = self._network.alike([pixels], examples, self._floor)
        marks = []
        for region in regions:
            again = self._again(pixels, region.box, examples[region.prompt])
            if again is not None:
                evidence = f"{region.score:.2f} alike to {shown[region.prompt].file}, {again:.2f} from near"
                marks.append(Mark(shown[region.prompt].name, min(region.score, again), region.box, evidence))
        return marks

    def _again(self, pixels: Pixels, box: Box, example: Pixels) -> float | None:
        height, width = pixels.shape[:2]
        left, top = int(box[0] * width), int(box[1] * height)
        crop = pixels[top : max(top + 1, round(box[3] * height)), left : max(left + 1, round(box[2] * width))]
        if not crop.size:
            return None
        (near,) = self._network.alike([np.ascontiguousarray(crop)], [example], self._floor)
        return max((one.score for one in near), default=None)

    def _example(self, picture: Image.Image) -> Pixels:
        return np.asarray(_on(picture, 255))


class Logo(Detector):
    """A logo's name with its box; and, by either backend, where the name is read or said as a word of its own."""

    Config = LogoConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Orb, "gpu": _Owlv2}

    def __init__(self, config: LogoConfig, infer: Infer | None = None) -> None:
        super().__init__(config, infer)
        self._names = _Shown(config.gallery, lambda _: True)
        if not self._names.current():
            log.warning("the gallery of logos is empty, so none is found: raysift logos add NAME PICTURE...")

    @classmethod
    def version(cls, config: LogoConfig) -> str:
        return f"{config.model} gallery:{_gallery(config.gallery).version()}" if config.gallery else config.model

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        pictures = [sample for sample in samples if sample.pixels is not None]
        marks = iter(self.infer(pictures) if pictures else [])
        return [
            self._worded(sample.text or "") if sample.pixels is None else self._kept(next(marks)) for sample in samples
        ]

    def _kept(self, marks: list[Mark]) -> list[Detection]:
        """One for each place: several pictures of one brand, or brands that are alike, answer to the same."""
        kept: list[Mark] = []
        for mark in sorted(marks, key=lambda mark: (-mark.score, mark.name, mark.box)):
            taken = any(overlap(mark.box, other.box) > 0.5 for other in kept)
            if mark.score >= self.config.floor and area(mark.box) > 0 and not taken:
                kept.append(mark)
        return [Detection(mark.name, min(1.0, mark.score), box=mark.box, evidence=mark.evidence) for mark in kept]

    def _worded(self, passage: str) -> list[Detection]:
        score = self.config.word_score
        names = sorted({reference.name for reference in self._names.current()}) if score >= self.config.floor else []
        return [
            Detection(name, score, text=words, evidence=f"word mark: {context}")
            for name in names
            if sum(map(str.isalnum, name)) >= self.config.word_letters
            for words, context in told(passage, (name,))
        ]

    @classmethod
    def example(cls) -> Sample:
        """A drawn mark, turned. It is compared with its own reference, which no other picture ever is."""
        picture = Image.new("RGB", (320, 240), (96, 120, 96))
        mark = _mark().rotate(20, Image.Resampling.BICUBIC, expand=True)
        picture.paste(mark, (60, 10), mark)
        return Sample(pixels=np.asarray(picture))


def _mark() -> Image.Image:
    """The self-test's mark: rings, bars and a letter, all of it corners."""
    picture = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((2, 2, 157, 157), fill=(240, 240, 240, 255), outline=(20, 20, 60, 255), width=8)
    rng = np.random.default_rng(7)
    for left, top, side in rng.integers((28, 28, 6), (110, 110, 26), (24, 3)):
        shade = int(rng.integers(0, 200))
        draw.rectangle((int(left), int(top), int(left + side), int(top + side)), fill=(shade, 30, 200 - shade, 255))
    return picture


def _is_example(pixels: Pixels) -> bool:
    return bool(np.array_equal(pixels, np.asarray(Logo.example().pixels))) if pixels.shape == (240, 320, 3) else False


def _on(picture: Image.Image, ground: int, pad_px: int = 0) -> Image.Image:
    """Flattened on a grey, with a margin of it."""
    size = (picture.width + 2 * pad_px, picture.height + 2 * pad_px)
    flat = Image.new("RGB", size, (ground, ground, ground))
    flat.paste(picture, (pad_px, pad_px), picture)
    return flat


def _flat(picture: Image.Image, ground: int, pad_px: int) -> npt.NDArray[np.uint8]:
    return np.asarray(_on(picture, ground, pad_px).convert("L"))


def _gallery(uri: str) -> Gallery:
    return Gallery(uri, os.environ.get("AWS_ENDPOINT_URL"))
