"""Restraints on people: boxes by a large model on a GPU; by the embedded models only cues for a reviewer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from cluster.records import Box, Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer, by_modality
from deployments.galleries.references import Exemplars, Match, Vectors
from deployments.galleries.store import opened
from deployments.models import open_vocabulary, runtime
from deployments.models.boxes import overlap, within
from deployments.models.concepts import conse
from deployments.models.concepts.conse import Conse, Pictured
from deployments.models.keywords import find_keywords
from deployments.models.open_vocabulary import OpenVocabulary
from deployments.models.regions import Region

NOT = "not "  # prefix of the names of counter-examples
WORDS = (
    *("handcuff*", "cuffed", "manacle*", "shackle*", "in chains", "chained", "tied up", "hands tied", "hog tie*"),
    *("zip tie*", "cable tie*", "gagged", "blindfold*", "straitjacket*", "hostage*", "bondage"),
    *("handschelle*", "gefesselt*", "angekettet*", "geknebelt*", "kabelbinder*", "zwangsjacke*", "geisel*"),
    *("menotte*", "ligoté*", "enchaîné*", "bâillonné*", "otage*"),
    *("esposado*", "esposada*", "maniatad*", "encadenad*", "amordazad*", "grilletes", "rehén", "rehenes"),
    *("наручник*", "кандал*", "заложник*"),
    *("手铐", "手銬", "镣铐", "捆绑", "人质", "人質"),
)
CONCEPTS = (
    *("handcuffs", "wrists in handcuffs", "a prisoner in handcuffs"),
    *("hands tied with rope", "shackles and chains", "a person in chains"),
)
ORDINARY = (
    *("a person", "a man in a suit and tie", "a man in a bow tie", "a belt with a buckle", "a bracelet"),
    *("a necklace", "a wrist watch", "a purse", "a seat belt", "a boat with ropes", "a chain-link fence"),
    *("a chain saw", "chain mail armour", "a lock", "a dog on a leash", "a neck brace", "clothes", "a building"),
    *("a vehicle", "an animal", "food", "a tool", "sports"),
)


class RestraintConfig(DetectorConfig):
    """Settings of restraint. The recall of both backends is unknown, and most cues will be false.

    Nothing was measured on restrained people: no picture of one with a usable licence was available. Measured: none of
    60 ordinary pictures and frames (portraits, people indoors, objects, logos, pages of text) gives a cue "concept";
    the nearest stays 0.10 below. Of ImageNet's 1000 classes, taken alone, three raise a cue: chain, knot and prison.
    The values of `gpu` are not measured. The gallery is used by `embedded` only.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": conse.MODEL, "colocate": "concepts"},
        "gpu": {
            "model": open_vocabulary.MODEL,
            "colocate": "open_vocabulary",
            "gpu_memory_gb": 2.0,  # LLMDet (hf:iSEE-Laboratory/llmdet_base@main) needs 7.5 at a batch of 4
            "floor": 0.1,
        },
    }

    cpus: float = Field(0.2, gt=0)
    gallery: str = ""
    batch: int = Field(8, ge=1)  # pictures in one pass of `gpu`

    # keywords for text, of both backends; an asterisk stands for any ending
    words: tuple[str, ...] = WORDS
    words_score: float = Field(0.5, ge=0, le=1)  # of every cue "words": for sorting, not a probability

    # cues of `embedded`: cosines
    concepts: tuple[str, ...] = Field(CONCEPTS, min_length=1)
    ordinary: tuple[str, ...] = Field(ORDINARY, min_length=1)  # a picture more similar to one of these has no cue
    concept_floor: float = Field(0.4, ge=0, le=1)
    exemplar_floor: float = Field(0.68, ge=0, le=1)  # reached by one pair of unrelated pictures in 10,000

    # objects for `gpu`: label -> prompts; and objects that are easily confused with them
    things: Mapping[str, tuple[str, ...]] = {
        "handcuffs": ("handcuffs",),
        "rope": ("a rope tied around wrists", "a rope tied around a person"),
        "chains": ("a chain around a wrist", "shackles"),
        "cable ties": ("a cable tie around wrists", "a zip tie around wrists"),
        "gag": ("a gag in a mouth", "tape over a mouth"),
        "straps": ("a leather strap around wrists", "a strap holding a person down"),
    }
    look_alikes: tuple[str, ...] = (
        *("belt", "bracelet", "necklace", "seat belt", "climbing rope", "wrist watch", "necktie", "scarf", "ring"),
        *("shoelace", "bag strap", "dog leash", "hair tie", "face mask", "headset", "safety harness", "bicycle chain"),
    )
    margin: float = Field(0.05, ge=0, le=1)  # by which a score must exceed that of any look-alike at the same place
    same_place: float = Field(0.5, gt=0, le=1)  # intersection over union
    on_person: float = Field(0.5, ge=0, le=1)  # share of an object's box within the box of a person
    person_floor: float = Field(0.2, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Hint:
    """A finding of a backend. Without a box it is a cue: it has no place in the picture and is often false."""

    what: str
    score: float
    evidence: str
    box: Box | None = None


class _Cues:
    """ConSE similarity to concepts, and image similarity to exemplars: list[Sample] -> list[list[Hint]]."""

    def __init__(self, config: RestraintConfig) -> None:
        self._config = config
        self._conse = runtime.shared(f"conse {config.model}", lambda: Conse(config.model))
        self._concepts = self._conse.texts(config.concepts)
        self._ordinary = self._conse.texts(config.ordinary)
        self._exemplars = Exemplars(opened(config.gallery), self._embed) if config.gallery else None

    def __call__(self, samples: list[Sample]) -> list[list[Hint]]:
        pictured = self._conse.pictures([sample.pixels for sample in samples if sample.pixels is not None])
        if not pictured or self._exemplars is None:
            return [self._concept(one) for one in pictured]
        matches = self._exemplars.matches(np.stack([one.image for one in pictured]))
        found = zip(pictured, (nearest(one, self._config.exemplar_floor) for one in matches), strict=True)
        return [[] if hints is None else self._concept(one) + hints for one, hints in found]

    def _concept(self, one: Pictured) -> list[Hint]:
        near, ordinary = self._concepts @ one.text, self._ordinary @ one.text
        best, next_ = int(near.argmax()), int(ordinary.argmax())
        if near[best] < max(self._config.concept_floor, ordinary[next_]):
            return []
        likeliest = np.argsort(-one.chances, kind="stable")[:3]
        seen = ", ".join(f"{self._conse.names[k]} {one.chances[k]:.2f}" for k in likeliest)
        prompt, other = self._config.concepts[best], self._config.ordinary[next_]
        evidence = f"{near[best]:.2f} for {prompt}; next: {other} {ordinary[next_]:.2f}; seen as {seen}"
        return [Hint("concept", min(1.0, float(near[best])), evidence)]

    def _embed(self, pictures: Sequence[Any]) -> Vectors:
        return np.stack([one.image for one in self._conse.pictures(pictures)])


def nearest(matches: list[Match], floor: float) -> list[Hint] | None:
    """Hints for exemplars from a similarity of `floor` on; None if a counter-example is the most similar of them."""
    alike = [match for match in matches if match.likeness >= floor]
    if alike and alike[0].name.startswith(NOT):
        return None
    return [
        Hint(f"exemplar {match.name}", min(1.0, match.likeness), f"{match.likeness:.2f} alike to {match.file}")
        for match in alike
        if not match.name.startswith(NOT)
    ]


class _Boxes:
    """Open-vocabulary detection of restraints, look-alikes and people: list[Sample] -> list[list[Hint]]."""

    def __init__(self, config: RestraintConfig) -> None:
        self._config = config
        key = f"open vocabulary {config.model}"
        self._network = runtime.shared(key, lambda: OpenVocabulary(config.model, config.batch))
        self([Sample(pixels=np.zeros((64, 64, 3), np.uint8))])  # warm-up: the detector's example is a text

    def __call__(self, samples: list[Sample]) -> list[list[Hint]]:
        pictures = [sample.pixels for sample in samples if sample.pixels is not None]
        prompts = tuple(prompt for _, prompt in asked(self._config))
        floor = max(0.0, min(self._config.floor, self._config.person_floor) - self._config.margin)
        return [judged(regions, self._config) for regions in self._network.find(pictures, prompts, floor)]


PERSON = "person"


def asked(config: RestraintConfig) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and a prompt for the network: the label of an object, a look-alike, or PERSON."""
    things = ((label, prompt) for label, prompts in config.things.items() for prompt in prompts)
    return (*things, *((name, f"a {name}") for name in config.look_alikes), (PERSON, f"a {PERSON}"))


def judged(regions: Sequence[Region], config: RestraintConfig) -> list[Hint]:
    """Hints for objects on a person whose score exceeds that of every look-alike at the same place by the margin."""
    names = [name for name, _ in asked(config)]
    people = [one for one in regions if names[one.prompt] == PERSON and one.score >= config.person_floor]
    others = sorted((one for one in regions if names[one.prompt] != PERSON), key=lambda one: -one.score)
    kept: list[Region] = []
    hints = []
    for region in others:
        name = names[region.prompt]
        if name not in config.things or any(overlap(region.box, one.box) >= config.same_place for one in kept):
            continue
        here = [one for one in others if overlap(region.box, one.box) >= config.same_place]
        rivals = [one for one in here if names[one.prompt] != name]
        unlike = [one.score for one in rivals if names[one.prompt] not in config.things]
        wearer = max(people, key=lambda one: (within(region.box, one.box), one.score), default=None)
        share = within(region.box, wearer.box) if wearer else 0.0
        if region.score < max(unlike, default=-1.0) + config.margin or share < config.on_person:
            continue
        kept.append(region)
        evidence = f"{region.score:.2f}" + (f", on a person {wearer.score:.2f}" if wearer and share else "")
        if rivals:
            evidence += f"; next: {names[rivals[0].prompt]} {rivals[0].score:.2f}"
        hints.append(Hint(name, region.score, evidence, region.box))
    return hints


class Restraint(Detector):
    """Restraints with boxes by `gpu`; "cue: concept" and "cue: exemplar NAME" by `embedded`; "cue: words" by both."""

    Config = RestraintConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Cues, "gpu": _Boxes}

    @classmethod
    def version(cls, config: RestraintConfig) -> str:
        """The model; of `embedded`, with the version of the gallery."""
        if config.backend != "embedded" or not config.gallery:
            return config.model
        return f"{config.model} gallery:{opened(config.gallery).version()}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """Hints of the backend for images, keywords in texts."""
        return by_modality(
            samples,
            lambda pictures: [self._kept(hints) for hints in self.infer(pictures)],
            lambda texts: [self._worded(sample.text or "") for sample in texts],
        )

    def _kept(self, hints: list[Hint]) -> list[Detection]:
        return [
            Detection(hint.what if hint.box else f"cue: {hint.what}", hint.score, hint.box, evidence=hint.evidence)
            for hint in hints
            if hint.score >= self.config.floor
        ]

    def _worded(self, passage: str) -> list[Detection]:
        score = self.config.words_score
        found = find_keywords(passage, self.config.words) if score >= self.config.floor else []
        return [Detection("cue: words", score, text=words, evidence=context) for words, context in found]

    @classmethod
    def example(cls) -> Sample:
        """A sentence with a keyword."""
        return Sample(text="The officer put him in handcuffs.")
