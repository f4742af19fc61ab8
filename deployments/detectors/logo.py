"""Logos that the operator has shown: where a picture shows them, and where their names are read or said."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from cluster.records import Box, Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer, by_modality
from deployments.galleries.pictures import UnusablePicture, flattened, trimmed
from deployments.galleries.store import Gallery, Reference, opened
from deployments.galleries.watcher import GalleryWatcher
from deployments.models import open_vocabulary, runtime
from deployments.models.boxes import area, overlap, within
from deployments.models.frame_cache import Pixels
from deployments.models.keywords import find_keywords
from deployments.models.open_vocabulary import OpenVocabulary, Region
from deployments.models.orb_matching import LEAST_INLIERS, Features, Grey, Matcher, Place, described

log = logging.getLogger(__name__)

ALSO = " + "  # in a gallery's name, between a brand and what else it is called: "Facebook + Meta"
SAME_PLACE = 0.5  # intersection over union
SELF_TEST = Reference("raysift self-test", "itself", "")


class LogoConfig(DetectorConfig):
    """What is looked for is what `raysift logos add` has put into the gallery; an empty gallery finds nothing.

    Measured for `embedded` at 720p, on photographs and pages: of 80 logos of eight brands, 64 to 192 px, turned up to
    25 degrees and tilted, 73 were found, and no other; tilted twice as much, 72; in 100 frames without one, nothing.
    One thread takes 0.07 s a frame with one reference, 0.36 s with 8, 0.42 s with 60. Flat logos are found poorly, and
    taken for each other; their names, read as text, are looked for too. The values of `gpu` are not measured.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": "orb-1"},  # a method without weights
        "gpu": {
            "model": open_vocabulary.MODEL,
            "colocate": "open_vocabulary",
            "gpu_memory_gb": 2.0,
            "floor": 0.6,  # of both looks; the example in OWLv2's documentation asks for 0.9
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


class _Orb:
    """ORB features that agree on a place (deployments/models/orb_matching.py): list[Sample] -> list[list[Mark]].

    A score is n / (n + 7) for n features that agree: 0.5 for the fewest that are believed. It orders, it is no
    probability.
    """

    side_px, pad_px = 256, 24
    seen = 0.25  # of a logo's outline lies within the picture at least

    def __init__(self, config: LogoConfig) -> None:
        self._watcher: GalleryWatcher[Features] = GalleryWatcher(_gallery(config), self._features)
        self._known: dict[Reference, Features] = {}
        self._matcher = Matcher([])
        self._own = Matcher([described(self._variants(_mark()), self.pad_px)])

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        if (known := self._watcher.current()) is not self._known:
            self._known, self._matcher = known, Matcher(list(known.values()))
        return [self._marks(np.asarray(sample.pixels)) for sample in samples]

    def _marks(self, pixels: Pixels) -> list[Mark]:
        own = _is_example(pixels)
        if not own and not self._known:
            return []
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        places = (self._own if own else self._matcher).places(grey)
        references = [SELF_TEST] if own else list(self._known)
        found = (self._mark(place, references[place.reference], grey.shape) for place in places)
        return [mark for mark in found if mark is not None]

    def _mark(self, place: Place, reference: Reference, shape: tuple[int, ...]) -> Mark | None:
        corners = place.corners / (shape[1], shape[0])
        whole, box = _around(corners), _around(corners.clip(0, 1))
        if within(whole, box) < self.seen:
            return None
        score = place.inliers / (place.inliers + LEAST_INLIERS)
        evidence = f"{place.inliers} inliers of {place.matches} with {_file(reference)} at {place.scale:g}x"
        return Mark(_names(reference)[0], score, box, evidence)

    def _features(self, picture: Image.Image) -> Features:
        features = described(self._variants(picture), self.pad_px)
        if len(features.descriptors) < LEAST_INLIERS:
            raise UnusablePicture("shows too little to be found again")
        return features

    def _variants(self, picture: Image.Image) -> list[Grey]:
        whole = trimmed(picture)
        scale = self.side_px / max(whole.size)
        whole = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
        return [np.asarray(one.convert("L")) for one in flattened(whole, self.pad_px)]


class _Owlv2:
    """OWLv2, asked by example: list[Sample] -> list[list[Mark]]. What it finds it looks at again from near.

    A region counts when, of all examples, its own crop, enlarged to the network's whole input, is likest to one of the
    same brand: a second class embedding, of more pixels. The score is the lower of the two.
    """

    nearer = 8  # regions of a picture that are looked at again, the surest

    def __init__(self, config: LogoConfig) -> None:
        key = f"open vocabulary {config.model}"
        self._network = runtime.shared(key, lambda: OpenVocabulary(config.model, config.batch))
        self._floor = config.floor
        self._watcher: GalleryWatcher[list[Pixels]] = GalleryWatcher(_gallery(config), self._examples)
        self._own = {SELF_TEST: self._examples(_mark())}

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        pictures = [np.asarray(sample.pixels) for sample in samples]
        own = [_is_example(pixels) for pixels in pictures]
        answers = iter(self._marks([one for one, is_own in zip(pictures, own, strict=True) if not is_own]))
        tested = iter(self._marks([one for one, is_own in zip(pictures, own, strict=True) if is_own], self._own))
        return [next(tested if is_own else answers) for is_own in own]

    def _marks(self, pictures: list[Pixels], known: Mapping[Reference, list[Pixels]] | None = None) -> list[list[Mark]]:
        known = self._watcher.current() if known is None else known
        of = [reference for reference, examples in known.items() for _ in examples]
        examples = [example for some in known.values() for example in some]
        if not pictures or not examples:
            return [[] for _ in pictures]
        found = [surest(regions)[: self.nearer] for regions in self._network.alike(pictures, examples, self._floor)]
        regions = [(n, region) for n, some in enumerate(found) for region in some]
        again = self._network.alike([_cut(pictures[n], one.box) for n, one in regions], examples, self._floor)
        marks: list[list[Mark]] = [[] for _ in pictures]
        for (n, region), near in zip(regions, again, strict=True):
            reference, likest = of[region.prompt], near[0] if near else None
            if likest is not None and _names(of[likest.prompt])[0] == _names(reference)[0]:
                evidence = f"{region.score:.2f} alike to {_file(reference)}, {likest.score:.2f} from near"
                marks[n].append(Mark(_names(reference)[0], min(region.score, likest.score), region.box, evidence))
        return marks

    def _examples(self, picture: Image.Image) -> list[Pixels]:
        return [np.asarray(one) for one in flattened(trimmed(picture))]


class Logo(Detector):
    """A logo's name with its box; and, by either backend, where the name is read or said as a word of its own."""

    Config = LogoConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Orb, "gpu": _Owlv2}

    def __init__(self, config: LogoConfig, infer: Infer | None = None) -> None:
        super().__init__(config, infer)
        # of its own: a logo too plain for the backend is still looked for by its name
        self._brands: GalleryWatcher[None] = GalleryWatcher(_gallery(config), lambda picture: None)
        if not self._brands.current():
            log.warning("the gallery of logos is empty, so none is found: raysift logos add NAME PICTURE...")

    @classmethod
    def version(cls, config: LogoConfig) -> str:
        gallery = _gallery(config)
        return f"{config.model} gallery:{gallery.version()}" if gallery else config.model

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return by_modality(
            samples,
            lambda pictures: [self._kept(marks) for marks in self.infer(pictures)],
            lambda texts: [self._worded(sample.text or "") for sample in texts],
        )

    def _kept(self, marks: list[Mark]) -> list[Detection]:
        """One for each place: several pictures of one brand, or brands that are alike, answer to the same."""
        kept: list[Mark] = []
        for mark in sorted(marks, key=lambda mark: (-mark.score, mark.name, mark.box)):
            taken = any(overlap(mark.box, other.box) > SAME_PLACE for other in kept)
            if mark.score >= self.config.floor and area(mark.box) > 0 and not taken:
                kept.append(mark)
        return [Detection(mark.name, min(1.0, mark.score), box=mark.box, evidence=mark.evidence) for mark in kept]

    def _worded(self, passage: str) -> list[Detection]:
        score = self.config.word_score
        brands = dict.fromkeys(_names(reference) for reference in self._brands.current())
        words = {names[0]: tuple(map(_spoken, filter(self._telling, names))) for names in brands}
        every = tuple(dict.fromkeys(name for names in words.values() for name in names))
        return [
            Detection(brand, score, text=text, evidence=f"word mark: {context}")
            for text, context in (find_keywords(passage, every) if score >= self.config.floor else [])
            for brand, names in words.items()
            if find_keywords(text, names)
        ]

    def _telling(self, name: str) -> bool:
        return sum(map(str.isalnum, name)) >= self.config.word_letters

    @classmethod
    def example(cls) -> Sample:
        """A drawn mark, turned. It is compared with its own reference, which no other picture ever is."""
        return Sample(pixels=_example())


@functools.cache
def _example() -> Pixels:
    picture = Image.new("RGB", (320, 240), (96, 120, 96))
    mark = _mark().rotate(20, Image.Resampling.BICUBIC, expand=True)
    picture.paste(mark, (60, 10), mark)
    return np.asarray(picture)


@functools.cache
def _mark() -> Image.Image:
    """The self-test's mark: a ring and squares, all of it corners."""
    picture = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((2, 2, 157, 157), fill=(240, 240, 240, 255), outline=(20, 20, 60, 255), width=8)
    rng = np.random.default_rng(7)
    for left, top, side in rng.integers((28, 28, 6), (110, 110, 26), (24, 3)):
        shade = int(rng.integers(0, 200))
        draw.rectangle((int(left), int(top), int(left + side), int(top + side)), fill=(shade, 30, 200 - shade, 255))
    return picture


def _is_example(pixels: Pixels) -> bool:
    return np.array_equal(pixels, _example())


def surest(regions: Sequence[Region]) -> list[Region]:
    """The surest of those that overlap, whichever examples they are like."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda one: -one.score):
        if all(overlap(region.box, other.box) <= SAME_PLACE for other in kept):
            kept.append(region)
    return kept


def _gallery(config: LogoConfig) -> Gallery | None:
    return opened(config.gallery) if config.gallery else None


def _names(reference: Reference) -> tuple[str, ...]:
    """The brand, and what else it is called."""
    return tuple(name.strip() for name in reference.name.split(ALSO))


def _spoken(name: str) -> str:
    """With blanks for hyphens, for which told() takes either, or neither."""
    return name.replace("-", " ")


def _file(reference: Reference) -> str:
    return f"{_names(reference)[0]}/{reference.file}"


def _around(corners: Any) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _cut(pixels: Pixels, box: Box) -> Pixels:
    """What lies in the box, one pixel at least."""
    height, width = pixels.shape[:2]
    left, top = min(width - 1, int(box[0] * width)), min(height - 1, int(box[1] * height))
    return pixels[top : max(top + 1, round(box[3] * height)), left : max(left + 1, round(box[2] * width))]
