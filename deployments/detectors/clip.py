"""What a picture shows and what it looks like: concepts, and vectors to find it by words or by another picture."""

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
from deployments.models.conse import MODEL, Conse, Pictured

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
    """Vectors of two different models do not meet in one collection: after a change of `model`, scan again."""

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": MODEL, "colocate": "concepts"},
        "gpu": {
            "model": "hf:google/siglip2-base-patch16-256@main",
            "batch": 64,
            "gpu_memory_gb": 1.8,
            "pictures_in": "image",
            "least_alike": 0.05,
            "least_alike_text": 0.7,
        },
    }

    cpus: float = Field(0.2, gt=0)
    floor: float = Field(0.1, ge=0, le=1)  # the likeliest concept is kept whatever its score: it carries the vectors
    concepts: int = Field(3, ge=1)  # kept for each picture at most
    labels: tuple[str, ...] = Field(LABELS, min_length=1)  # what `gpu` looks for; `embedded` has ImageNet's thousand
    batch: int = Field(8, ge=1)  # pictures or texts in one pass of `gpu`
    # What a search by words shows. Embedded: what had nothing to do with the query scored up to 0.13 on the sample
    # media. SigLIP's values are not measured: pictures that fit a text are said to have cosines of 0.05 to 0.2, and
    # its texts lie much nearer to one another than to any picture (the modality gap, arXiv:2203.02053).
    least_alike: float = Field(0.15, ge=-1, le=1)  # of pictures
    least_alike_text: float = Field(0.15, ge=-1, le=1)  # of what was read or said
    # The space in which a search by words looks for images: "image" where all texts would come before them.
    pictures_in: Annotated[Space, BeforeValidator(current_space)] = "text"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is said of a sample: concepts from the likeliest down (none for a text) and its vectors."""

    concepts: tuple[tuple[str, float], ...]
    vectors: tuple[Vector, ...]


class _Concepts:
    """Conse, shared with the detectors that live here too: list[Sample] -> list[Seen]."""

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
        concepts = tuple((self._conse.names[k], float(picture.chances[k])) for k in likeliest)
        return Seen(concepts, (_vector("image", picture.image), _vector("text", picture.text)))


class _Siglip:
    """SigLIP 2 (Tschannen et al. 2025, arXiv:2502.14786; Apache-2.0): list[Sample] -> list[Seen].

    Pictures and texts of many languages in one space of 768 values: a picture's vector is both its look and its place
    among words. The probability of a label is the sigmoid of the scaled and shifted cosine, as it was trained (Zhai et
    al. 2023, arXiv:2303.15343), each label by itself. Texts are lower-cased and padded to 64 tokens, as in training;
    the rest of a longer passage is not searched by meaning, only by its exact words.
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
            # what tokenizer.json says, to the letter: the class that the hub names for it loses its lower-casing
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
        # in 64 bits: the exponential for a label that does not fit at all overflows in 32
        cosines = (self._named @ picture).astype(np.float64)
        chances = 1 / (1 + np.exp(-(self._scale * cosines + self._shift)))
        likeliest = np.argsort(-chances, kind="stable")
        concepts = tuple((self._labels[k], float(chances[k])) for k in likeliest)
        return Seen(concepts, (_vector("image", picture), _vector("text", picture)))

    def _pictured(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Array:
        inputs = self.prepared(pictures).to(devices.dtype())
        return self._rows(lambda pixels: self._network.get_image_features(pixel_values=pixels), inputs)

    def prepared(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Any:
        """What the network is shown: (n, 3, height, width), float."""
        # as pictures: of an array of one pixel nobody could tell the channels
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
        # without a mask, as it was trained: it has learnt what padding looks like
        return self._rows(lambda ids: self._network.get_text_features(input_ids=ids), tokens["input_ids"])

    def _rows(self, network: Callable[[Any], Any], inputs: Any) -> Array:
        """One vector of length 1 for each of the inputs, which are padded to one of a few batch sizes."""
        missing = devices.bucket(len(inputs), self._batch) - len(inputs)
        padding = (0, 0) * (inputs.dim() - 1) + (0, missing)
        with self._torch.inference_mode():
            padded = self._torch.nn.functional.pad(inputs, padding).to(devices.device())
            vectors = network(padded).pooler_output[: len(inputs)].float().cpu().numpy()
        return runtime.unit(vectors)


class Clip(Detector):
    """A picture's likeliest concepts, the first of which carries its vectors "image" and "text"; a text's "text"."""

    Config = ClipConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Concepts, "gpu": _Siglip}

    @classmethod
    def version(cls, config: Any) -> str:
        """With other labels it says other things."""
        if config.backend == "embedded" or config.labels == LABELS:
            return str(config.model)
        return f"{config.model} labels:{blake2b(repr(config.labels).encode(), digest_size=4).hexdigest()}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [self._found(sample, seen) for sample, seen in zip(samples, self.infer(samples), strict=True)]

    def _found(self, sample: Sample, seen: Seen) -> list[Detection]:
        if sample.pixels is None:
            return [Detection("text", 1.0, text=sample.text, vectors=seen.vectors)]
        (label, score), *others = seen.concepts
        return [
            Detection(label, score, vectors=seen.vectors),
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
