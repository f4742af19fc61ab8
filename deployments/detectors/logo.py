"""Logos of the operator's gallery: where a picture shows them, and where their names are read or said."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from cluster.people.watch_types import ALSO
from cluster.records import Box, Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer, by_modality
from deployments.galleries import self_test
from deployments.galleries.pictures import UnusablePicture, flattened, trimmed
from deployments.galleries.store import Gallery, Reference, opened
from deployments.galleries.watcher import GalleryWatcher
from deployments.models import open_vocabulary, runtime
from deployments.models.boxes import area, overlap, within
from deployments.models.frame_cache import Pixels
from deployments.models.keywords import find_keywords
from deployments.models.open_vocabulary import OpenVocabulary
from deployments.models.orb_matching import LEAST_INLIERS, Features, Grey, Matcher, Place, described
from deployments.models.regions import Region

log = logging.getLogger(__name__)

SAME_PLACE = 0.5  # intersection over union


class LogoConfig(DetectorConfig):
    """Settings of the logo detector. It finds the logos that `raysift logos add` has put into the gallery.

    Measured for `embedded` at 720p, on photographs and pages: of 80 logos of eight brands, 64 to 192 px, turned up to
    25 degrees and tilted, 73 were found, and no false one; tilted twice as much, 72; in 100 frames without one, none.
    One thread takes 0.07 s a frame with one reference, 0.36 s with 8, 0.42 s with 60. Flat logos are found poorly and
    confused with each other; their names are searched in text, too. The values of `gpu` are not measured.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": "orb-1"},  # a method without weights
        "gpu": {
            "model": open_vocabulary.MODEL,
            "colocate": "open_vocabulary",
            "gpu_memory_gb": 2.0,
            "floor": 0.6,  # of both passes; the example in OWLv2's documentation uses 0.9
        },
    }

    cpus: float = Field(0.2, gt=0)
    gallery: str = ""
    batch: int = Field(8, ge=1)  # pictures in one pass of `gpu`
    word_score: float = Field(0.5, ge=0, le=1)  # of a name in a text: for sorting, not a probability
    word_letters: int = Field(3, ge=1)  # shorter names are not searched in texts


@dataclass(frozen=True, slots=True)
class Mark:
    """A logo in a picture."""

    name: str
    score: float
    box: Box
    evidence: str


class _Orb:
    """ORB features and RANSAC (deployments/models/orb_matching.py): list[Sample] -> list[list[Mark]].

    The score is n / (n + LEAST_INLIERS) for n inliers: 0.5 for the fewest that are accepted. It is for sorting, not a
    probability.
    """

    side_px, pad_px = 256, 24
    min_visible = 0.25  # share of a logo's outline within the picture

    def __init__(self, config: LogoConfig) -> None:
        self._watcher: GalleryWatcher[Features] = GalleryWatcher(_gallery(config), self._features)
        self._known: dict[Reference, Features] = {}
        self._matcher = Matcher([])
        self._own = Matcher([described(self._variants(self_test.mark()), self.pad_px)])

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        if (known := self._watcher.current()) is not self._known:
            self._known, self._matcher = known, Matcher(list(known.values()))
        return [self._marks(np.asarray(sample.pixels)) for sample in samples]

    def _marks(self, pixels: Pixels) -> list[Mark]:
        own = self_test.is_example(pixels)
        if not own and not self._known:
            return []
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        places = (self._own if own else self._matcher).places(grey)
        references = [self_test.SELF_TEST] if own else list(self._known)
        found = (self._mark(place, references[place.reference], grey.shape) for place in places)
        return [mark for mark in found if mark is not None]

    def _mark(self, place: Place, reference: Reference, shape: tuple[int, ...]) -> Mark | None:
        corners = place.corners / (shape[1], shape[0])
        whole, box = _around(corners), _around(corners.clip(0, 1))
        if within(whole, box) < self.min_visible:
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
        return [np.asarray(variant.convert("L")) for variant in flattened(whole, self.pad_px)]


class _Owlv2:
    """OWLv2 with the gallery's pictures as examples, in two passes: list[Sample] -> list[list[Mark]].

    A region of the first pass is accepted if, in the second, its own crop, enlarged to the network's input, is most
    similar to an example of the same brand: a second class embedding, of more pixels. The score is the lower of both.
    """

    max_crops = 8  # regions of a picture that the second pass gets, the strongest

    def __init__(self, config: LogoConfig) -> None:
        key = f"open vocabulary {config.model}"
        self._network = runtime.shared(key, lambda: OpenVocabulary(config.model, config.batch))
        self._floor = config.floor
        self._watcher: GalleryWatcher[list[Pixels]] = GalleryWatcher(_gallery(config), self._examples)
        self._own = {self_test.SELF_TEST: self._examples(self_test.mark())}

    def __call__(self, samples: list[Sample]) -> list[list[Mark]]:
        pictures = [np.asarray(sample.pixels) for sample in samples]
        own = [self_test.is_example(pixels) for pixels in pictures]
        answers = iter(self._marks([pixels for pixels, is_own in zip(pictures, own, strict=True) if not is_own]))
        tested = iter(self._marks([pixels for pixels, is_own in zip(pictures, own, strict=True) if is_own], self._own))
        return [next(tested if is_own else answers) for is_own in own]

    def _marks(self, pictures: list[Pixels], known: Mapping[Reference, list[Pixels]] | None = None) -> list[list[Mark]]:
        known = self._watcher.current() if known is None else known
        owners = [reference for reference, variants in known.items() for _ in variants]
        examples = [variant for variants in known.values() for variant in variants]
        if not pictures or not examples:
            return [[] for _ in pictures]
        first = self._network.alike(pictures, examples, self._floor)
        regions = [(n, region) for n, found in enumerate(first) for region in strongest(found)[: self.max_crops]]
        crops = [_crop(pictures[n], region.box) for n, region in regions]
        second = self._network.alike(crops, examples, self._floor)
        marks: list[list[Mark]] = [[] for _ in pictures]
        for (n, region), near in zip(regions, second, strict=True):
            reference, likest = owners[region.prompt], near[0] if near else None
            if likest is not None and _names(owners[likest.prompt])[0] == _names(reference)[0]:
                evidence = f"{region.score:.2f} alike to {_file(reference)}, {likest.score:.2f} from near"
                marks[n].append(Mark(_names(reference)[0], min(region.score, likest.score), region.box, evidence))
        return marks

    def _examples(self, picture: Image.Image) -> list[Pixels]:
        return [np.asarray(variant) for variant in flattened(trimmed(picture))]


class Logo(Detector):
    """Detections with a logo's name: with a box where a picture shows it, with a text where the name is read."""

    Config = LogoConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    detail: ClassVar[bool] = True
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Orb, "gpu": _Owlv2}

    def __init__(self, config: LogoConfig, infer: Infer | None = None) -> None:
        super().__init__(config, infer)
        # separate: a logo with too few features for the backend is still searched by its name
        self._brands: GalleryWatcher[None] = GalleryWatcher(_gallery(config), lambda picture: None)
        if not self._brands.current():
            log.warning("the gallery of logos is empty, so none is found: raysift logos add NAME PICTURE...")

    @classmethod
    def version(cls, config: LogoConfig) -> str:
        """The model and the gallery's version: a changed gallery has files analysed again."""
        gallery = _gallery(config)
        return f"{config.model} gallery:{gallery.version()}" if gallery else config.model

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """Logos in images, names of brands in texts."""
        return by_modality(
            samples,
            lambda pictures: [self._kept(marks) for marks in self.infer(pictures)],
            lambda texts: [self._named(sample.text or "") for sample in texts],
        )

    def _kept(self, marks: list[Mark]) -> list[Detection]:
        """The strongest mark of each place, which several pictures of a brand, or similar brands, may match."""
        kept: list[Mark] = []
        for mark in sorted(marks, key=lambda mark: (-mark.score, mark.name, mark.box)):
            taken = any(overlap(mark.box, other.box) > SAME_PLACE for other in kept)
            if mark.score >= self.config.floor and area(mark.box) > 0 and not taken:
                kept.append(mark)
        return [Detection(mark.name, min(1.0, mark.score), box=mark.box, evidence=mark.evidence) for mark in kept]

    def _named(self, passage: str) -> list[Detection]:
        score = self.config.word_score
        brands = dict.fromkeys(_names(reference) for reference in self._brands.current())
        words = {names[0]: tuple(map(_with_blanks, filter(self._is_searchable, names))) for names in brands}
        every = tuple(dict.fromkeys(name for names in words.values() for name in names))
        return [
            Detection(brand, score, text=text, evidence=f"word mark: {context}")
            for text, context in (find_keywords(passage, every) if score >= self.config.floor else [])
            for brand, names in words.items()
            if find_keywords(text, names)
        ]

    def _is_searchable(self, name: str) -> bool:
        return sum(map(str.isalnum, name)) >= self.config.word_letters

    @classmethod
    def example(cls) -> Sample:
        """A drawn mark, turned by 20 degrees; it is compared with its own reference only."""
        return Sample(pixels=self_test.example())


def strongest(regions: Sequence[Region]) -> list[Region]:
    """Of regions that overlap the one with the highest score, whichever examples they match."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.score):
        if all(overlap(region.box, other.box) <= SAME_PLACE for other in kept):
            kept.append(region)
    return kept


def _gallery(config: LogoConfig) -> Gallery | None:
    return opened(config.gallery) if config.gallery else None


def _names(reference: Reference) -> tuple[str, ...]:
    """The brand and its other names."""
    return tuple(name.strip() for name in reference.name.split(ALSO))


def _with_blanks(name: str) -> str:
    """The name with blanks for hyphens: find_keywords matches a blank, a hyphen or neither there."""
    return name.replace("-", " ")


def _file(reference: Reference) -> str:
    return f"{_names(reference)[0]}/{reference.file}"


def _around(corners: Any) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _crop(pixels: Pixels, box: Box) -> Pixels:
    """The pixels within the box, at least one."""
    height, width = pixels.shape[:2]
    left, top = min(width - 1, int(box[0] * width)), min(height - 1, int(box[1] * height))
    return pixels[top : max(top + 1, round(box[3] * height)), left : max(left + 1, round(box[2] * width))]
