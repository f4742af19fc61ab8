"""Regions of a picture, as open-vocabulary networks answer, and what loads and reads such networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.records import Box
from deployments.models import devices


@dataclass(frozen=True, slots=True)
class Region:
    """A place where a picture shows what a prompt or an example stands for."""

    prompt: int  # index of the prompt, or of the example
    score: float  # 0 to 1
    box: Box


def load_network(folder: Path, dtype: Any) -> tuple[Any, Any]:
    """The processor and the network of a zero-shot detection model of transformers, on this process's device."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    network = AutoModelForZeroShotObjectDetection.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtype
    )
    return AutoProcessor.from_pretrained(folder, local_files_only=True), network.to(devices.device()).eval()


def corners(boxes: Any) -> Any:
    """Boxes (..., 4) of centre x, centre y, width and height as left, top, right and bottom."""
    from transformers.image_transforms import center_to_corners_format

    return center_to_corners_format(boxes)


def strongest(scores: Any, boxes: Any, floor: float, limit: int = 1000, max_overlap: float = 0.5) -> list[Region]:
    """The regions of scores (places, prompts) and boxes (places, 4), from the highest score down.

    Non-maximum suppression for each prompt; boxes are fractions of the picture.
    """
    from torchvision.ops import batched_nms

    places, prompts = (scores >= floor).nonzero(as_tuple=True)
    values, order = scores[places, prompts].sort(descending=True, stable=True)
    values, places, prompts = values[:limit], places[order[:limit]], prompts[order[:limit]]
    kept = batched_nms(boxes[places], values, prompts, max_overlap)
    regions = zip(prompts[kept].tolist(), values[kept].tolist(), boxes[places[kept]].tolist(), strict=True)
    return [Region(prompt, score, (left, top, right, bottom)) for prompt, score, (left, top, right, bottom) in regions]
