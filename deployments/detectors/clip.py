"""Concepts that a picture shows, and vectors by which pictures and texts are searched."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import BeforeValidator, Field

from cluster.errors import SettingsError
from cluster.records import Detection, Modality, Sample, Space, Vector, current_space
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import devices, runtime
from deployments.models.concepts.conse import MODEL, Conse, Pictured
from deployments.models.concepts.display_names import NAMES, displayed

Array = npt.NDArray[np.float32]

LABELS = (
    "a person", "a crowd of people", "a child", "a face", "a dog", "a cat", "a bird", "a wild animal", "food",
    "a drink", "a car", "a truck", "a motorcycle", "a bicycle", "an aeroplane", "a ship", "a train", "a street",
    "a building", "a room", "a kitchen", "an office", "a landscape", "a beach", "a forest", "a map",
    "a page of text", "a screenshot", "a drawing", "a flag", "an identity card", "money", "a naked person",
    "underwear", "a gun", "a knife", "blood", "a fight", "a fire", "an explosion", "handcuffs", "drugs",
    "a protest", "police officers", "soldiers",
)  # fmt: skip


class ClipConfig(DetectorConfig):
    """Settings of clip. Vectors of different models cannot be compared: after a change of `model`, scan again.

    The floor of `embedded` was chosen on 33 photographs, logos and pages and 16 frames of films: from 0.25 on, the
    likeliest concept was right in 13 of 25, of photographs in 13 of 16; below, in none, but for clothes ("jean").
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": MODEL, "colocate": "concepts", "floor": 0.25},
        "gpu": {
            "model": "hf:google/siglip2-base-patch16-256@main",
            "batch": 64,
            "gpu_memory_gb": 1.8,
            "pictures_in": "image",
            "least_alike": 0.05,
            "least_alike_text": 0.7,
            "least_alike_word": 0.7,
            "least_alike_image": 0.0,
        },
    }

    cpus: float = Field(0.2, gt=0)
    floor: float = Field(0.1, ge=0, le=1)  # of concepts; a picture without one is named "picture"
    concepts: int = Field(3, ge=1)  # maximum for each picture
    labels: tuple[str, ...] = Field(LABELS, min_length=1)  # the concepts of `gpu`; `embedded` has ImageNet's 1000
    batch: int = Field(8, ge=1)  # pictures or texts in one pass of `gpu`
    # The least cosines of a hit of a search. Those of `embedded` are measured: docs/decisions/0025. SigLIP's are not:
    # matching pictures are reported to have cosines of 0.05 to 0.2, and its texts lie much nearer to each other than to
    # any picture (the modality gap, Liang et al. 2022, arXiv:2203.02053).
    least_alike: float = Field(0.35, ge=-1, le=1)  # of words and pictures
    least_alike_text: float = Field(0.45, ge=-1, le=1)  # of words and text that was read or heard
    least_alike_word: float = Field(0.5, ge=-1, le=1)  # of words and such text of up to three words
    least_alike_image: float = Field(0.5, ge=-1, le=1)  # of two pictures
    # The space in which a search by text looks for images; "image" if in one space all texts would precede them.
    pictures_in: Annotated[Space, BeforeValidator(current_space)] = "text"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a backend computes of a sample: concepts with scores, the likeliest first (none for a text), and vectors."""

    concepts: tuple[tuple[str, float], ...]
    vectors: tuple[Vector, ...]


class _Concepts:
    """ConSE (Norouzi et al. 2013), shared with restraint in one process: list[Sample] -> list[Seen]."""

    def __init__(self, config: ClipConfig) -> None:
        self._conse = runtime.shared(f"conse {config.model}", lambda: Conse(config.model))

    def __call__(self, samples: list[Sample]) -> list[Seen]:
        pictured = iter(self._conse.pictures([sample.pixels for sample in samples if sample.pixels is not None]))
        words = iter(self._conse.texts([sample.text or "" for sample in samples if sample.pixels is None]))
        return [
            self._seen(next(pictured)) if sample.pixels is not None else Seen((), (_vector("text", next(words)),))
            for sample in samples
        ]

    def _seen(self, picture: Pictured) -> Seen:
        likeliest = np.argsort(-picture.chances, kind="stable")[: Conse.likeliest]
        concepts = tuple((displayed(self._conse.names[k]), float(picture.chances[k])) for k in likeliest)
        return Seen(concepts, (_vector("image", picture.image), _vector("text", picture.text)))


class _Siglip:
    """SigLIP 2 (Tschannen et al. 2025, arXiv:2502.14786; Apache-2.0): list[Sample] -> list[Seen].

    Pictures and texts of many languages in one space of 768 values: one vector serves as image and as text vector. The
    probability of each label is the sigmoid of the scaled and shifted cosine (SigLIP, Zhai et al. 2023,
    arXiv:2303.15343). Texts are lower-cased and padded to 64 tokens, as in training; the rest of a longer passage is
    found by its exact words only.
    """

    prompt = "this is a photo of {}."

    def __init__(self, config: ClipConfig) -> None:
        (folder,) = runtime.weights(config.model)
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._torch = runtime.torch_on_one_thread()
        with runtime.quiet():
            from transformers import AutoConfig, AutoImageProcessor, PreTrainedTokenizerFast, SiglipModel
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind != "siglip":
                raise SettingsError(
                    f"detectors.clip.model {config.model} is a {kind}. Name a SigLIP or SigLIP 2 of fixed resolution."
                )
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            # by tokenizer.json alone: the class that the hub names for it loses the lower-casing
            self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
            network: Any = SiglipModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=devices.dtype()
            )
        self._network = network.to(devices.device()).eval()
        self._batch = config.batch
        self._labels = [label.removeprefix("a ").removeprefix("an ") for label in config.labels]
        self._named: Array = np.stack(self._texts([self.prompt.format(label) for label in config.labels]))
        self._scale = self._network.logit_scale.float().exp().item()
        self._shift = self._network.logit_bias.float().item()

    def __call__(self, samples: list[Sample]) -> list[Seen]:
        shown = [sample.pixels for sample in samples if sample.pixels is not None]
        pictures = iter(runtime.in_batches(shown, self._batch, self._pictured))
        words = iter(self._texts([sample.text or "" for sample in samples if sample.pixels is None]))
        return [
            self._seen(next(pictures)) if sample.pixels is not None else Seen((), (_vector("text", next(words)),))
            for sample in samples
        ]

    def _seen(self, picture: Array) -> Seen:
        # in float64: the exponential for an unrelated label overflows in float32
        cosines = (self._named @ picture).astype(np.float64)
        chances = 1 / (1 + np.exp(-(self._scale * cosines + self._shift)))
        likeliest = np.argsort(-chances, kind="stable")
        concepts = tuple((self._labels[k], float(chances[k])) for k in likeliest)
        return Seen(concepts, (_vector("image", picture), _vector("text", picture)))

    def _pictured(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Array:
        inputs = self.prepared(pictures).to(devices.dtype())
        return self._rows(lambda pixels: self._network.get_image_features(pixel_values=pixels), inputs)

    def prepared(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Any:
        """The input of the network: (n, 3, height, width), float."""
        # as PIL images: in an array of one pixel the processor cannot tell which axis is the channels
        return self._processor([Image.fromarray(pixels) for pixels in pictures], return_tensors="pt")["pixel_values"]

    def _texts(self, texts: Sequence[str]) -> list[Array]:
        return runtime.in_batches(texts, self._batch, self._worded)

    def _worded(self, texts: Sequence[str]) -> Array:
        tokens = self._tokenizer(
            [text.lower() for text in texts],
            return_tensors="pt",
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self._network.config.text_config.max_position_embeddings,
        )
        # without an attention mask, as in training: the network has learnt to ignore padding
        return self._rows(lambda ids: self._network.get_text_features(input_ids=ids), tokens["input_ids"])

    def _rows(self, network: Callable[[Any], Any], inputs: Any) -> Array:
        """One vector of length 1 for each input; the batch is padded to one of a few sizes."""
        missing = devices.bucket(len(inputs), self._batch) - len(inputs)
        padding = (0, 0) * (inputs.dim() - 1) + (0, missing)
        with self._torch.inference_mode():
            padded = self._torch.nn.functional.pad(inputs, padding).to(devices.device())
            vectors = network(padded).pooler_output[: len(inputs)].float().cpu().numpy()
        return runtime.unit(vectors)


class Clip(Detector):
    """A picture's likeliest concepts, the first with the vectors "image" and "text"; for a text, its vector "text".

    A picture without a concept from the floor on is "picture", with the score of its likeliest concept.
    """

    Config = ClipConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Concepts, "gpu": _Siglip}

    @classmethod
    def version(cls, config: Any) -> str:
        """The model; of `embedded` with the way of naming; of `gpu`, other labels than the default make another one."""
        if config.backend == "embedded":
            return f"{config.model} {NAMES}"
        if config.labels == LABELS:
            return str(config.model)
        return f"{config.model} labels:{blake2b(repr(config.labels).encode(), digest_size=4).hexdigest()}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """One detection for each concept of a picture, or one for a text."""
        return [self._found(sample, seen) for sample, seen in zip(samples, self.infer(samples), strict=True)]

    def _found(self, sample: Sample, seen: Seen) -> list[Detection]:
        if sample.pixels is None:
            return [Detection("text", 1.0, text=sample.text, vectors=seen.vectors)]
        (label, score), *others = seen.concepts
        return [
            Detection(label if score >= self.config.floor else "picture", score, vectors=seen.vectors),
            *(Detection(*other) for other in others[: self.config.concepts - 1] if other[1] >= self.config.floor),
        ]

    @classmethod
    def example(cls) -> Sample:
        """A drawn ball."""
        picture = Image.new("RGB", (320, 240), (60, 110, 180))
        ImageDraw.Draw(picture).ellipse((90, 50, 230, 190), fill=(230, 120, 40))
        return Sample(pixels=np.asarray(picture))


def _vector(space: Space, values: Array) -> Vector:
    return Vector(space, tuple(float(value) for value in values))
