"""OWLv2: objects found in pictures by a text or by an example picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deployments.models import devices, runtime
from deployments.models.frame_cache import FrameCache, Pixels, content
from deployments.models.regions import Region, corners, load_network, strongest


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A picture encoded by the vision tower, without the patches that lie in its padding."""

    features: Any  # (patches, width) of the network's precision
    boxes: Any  # (patches, 4) float32: one for each patch, clipped to the picture


class Owlv2:
    """OWLv2 (Minderer et al. 2023, arXiv:2306.09683): a box for each patch of the picture, compared with the queries.

    A picture is encoded once for all detectors that share the network. The heads compute in float32: in bfloat16 the
    edges of a box have steps of 4 px of 960.
    """

    cached_frames = 32  # two chunks of frames in flight; 5.5 MB each in half precision for the base network
    min_fill = 0.8  # of the largest box of an example: smaller boxes do not stand for the example

    def __init__(self, folder: Path, batch: int, torch: Any) -> None:
        self._processor, self._network = load_network(folder, devices.dtype())
        self._torch, self._batch = torch, batch
        for head in (self._network.class_head, self._network.box_head, self._network.objectness_head):
            head.float()
        self._encoded = FrameCache(
            self.cached_frames, lambda pictures: runtime.in_batches(pictures, self._batch, self._encode)
        )
        self._examples: dict[bytes, Any] = {}
        self._prompts: dict[tuple[str, ...], Any] = {}

    def find(self, pictures: Sequence[Pixels], prompts: tuple[str, ...], floor: float) -> list[list[Region]]:
        """For each picture the regions that a prompt names, with a score of `floor` at least."""
        if prompts not in self._prompts:
            self._prompts[prompts] = self._embed_prompts(prompts)
        return [self._regions(picture, self._prompts[prompts], floor) for picture in self._encoded(pictures)]

    def alike(self, pictures: Sequence[Pixels], examples: Sequence[Pixels], floor: float) -> list[list[Region]]:
        """For each picture the regions that look like an example, with a score of `floor` at least."""
        if not examples:
            return [[] for _ in pictures]
        keys = [content(example) for example in examples]
        unknown = {key: example for key, example in zip(keys, examples, strict=True) if key not in self._examples}
        encoded = runtime.in_batches(list(unknown.values()), self._batch, self._encode)
        self._examples |= {key: self._embed_example(picture) for key, picture in zip(unknown, encoded, strict=True)}
        queries = self._torch.stack([self._examples[key] for key in keys])
        return [self._regions(picture, queries, floor) for picture in self._encoded(pictures)]

    def _embed_prompts(self, prompts: tuple[str, ...]) -> Any:
        """(prompts, d), float32: text embeddings, in the space of the patches' class embeddings."""
        texts = [f"a photo of {prompt}" for prompt in prompts]  # as the network was trained
        tokens = self._processor.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        tokens = {name: tokens[name].to(devices.device()) for name in ("input_ids", "attention_mask")}
        return self._network.owlv2.get_text_features(**tokens).pooler_output.float()

    def _embed_example(self, picture: _Encoded) -> Any:
        """(d,): the class embedding that stands for an example.

        It is that of the box with the highest objectness, as OWLv2's authors choose it, among the boxes that fill the
        picture (Minderer et al. 2022, arXiv:2205.06230, A1.7): objectness alone may choose a part of the example.
        Zeros for an example so narrow that no patch lies in it; such an example is found nowhere.
        """
        if not len(picture.boxes):
            return self._network.class_head.dense0.bias * 0
        sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
        filled = sides[:, 0] * sides[:, 1]
        features = picture.features.float()
        objects = self._network.objectness_head(features)[:, 0]
        best = objects.masked_fill(filled < self.min_fill * filled.max(), -self._torch.inf).argmax()
        return self._network.class_head(features[None], None, None)[1][0, best]

    def _regions(self, picture: _Encoded, queries: Any, floor: float) -> list[Region]:
        logits, _ = self._network.class_head(picture.features.float()[None], queries[None], None)
        scores = logits[0].sigmoid().masked_fill((queries == 0).all(dim=1), -1)
        return strongest(scores, picture.boxes, floor)

    def _encode(self, pictures: Sequence[Pixels]) -> list[_Encoded]:
        torch = self._torch
        images = [Image.fromarray(pixels) for pixels in pictures]  # arrays of one row would be taken for channels
        # the processor blurs before it shrinks, which costs the square of the factor
        side = 2 * self._network.config.vision_config.image_size
        small = [image.reduce(max(1, max(image.size) // side)) for image in images]
        pixels = self._processor.image_processor(small, return_tensors="pt", device=devices.device()).pixel_values
        spare = devices.bucket(len(images), self._batch) - len(images)
        pixels = torch.nn.functional.pad(pixels, (0, 0, 0, 0, 0, 0, 0, spare)).to(self._network.dtype)
        maps, _ = self._network.image_embedder(pixels)
        features = maps.flatten(1, 2)[: len(images)]
        boxes = self._network.box_predictor(features.float(), maps)
        return [self._placed(*one) for one in zip(images, features, boxes, strict=True)]

    def _placed(self, image: Image.Image, features: Any, boxes: Any) -> _Encoded:
        """Boxes as fractions of the picture, from fractions of the square that it was padded to at right or bottom."""
        side = max(image.size)
        scale = boxes.new_tensor([side / image.width, side / image.height] * 2)
        placed = (corners(boxes) * scale).clamp(0, 1)
        inside = (placed[:, 2:] > placed[:, :2]).all(dim=1)
        return _Encoded(features[inside], placed[inside])
