"""Things that are named by words or shown by an example, found in pictures: one network for all who look for them."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from cluster.errors import SettingsError
from cluster.records import Box
from deployments.models import devices, runtime
from deployments.models.frame_cache import Pixels, Remembered, content

MODEL = "hf:google/owlv2-base-patch16-ensemble@main"


@dataclass(frozen=True, slots=True)
class Region:
    """Where a picture shows what was asked for."""

    prompt: int  # its place among the prompts, or among the examples
    score: float  # 0 to 1
    box: Box


class OpenVocabulary:
    """OWLv2, Grounding DINO or MM-Grounding DINO (LLMDet), whichever the model's own config says that it is.

    Those who live together take it from `backends.shared(f"open vocabulary {model}", ...)`. Regions of a picture come
    from the surest down; of those of one prompt that overlap by half, only the surest.
    """

    def __init__(self, model: str, batch: int) -> None:
        (folder,) = runtime.weights(model)
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._model = model
        self._torch = runtime.torch_on_one_thread()
        with runtime.quiet():
            from transformers import AutoConfig
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind not in _ENGINES:
                raise SettingsError(
                    f"model {model!r} is of the kind {kind!r}; open-vocabulary detection takes {', '.join(_ENGINES)}. "
                    f"Name another, such as {MODEL}."
                )
            self._engine = _ENGINES[kind](folder, batch, self._torch)

    def find(self, pictures: Sequence[Pixels], prompts: tuple[str, ...], floor: float) -> list[list[Region]]:
        """What the prompts name ("handcuffs", "a leather belt"), one list a picture. A prompt has no full stop in it.

        A place may answer to several prompts: it is said for each of them that reaches the floor.
        """
        with self._torch.inference_mode():
            return self._engine.find(pictures, prompts, floor)

    def alike(self, pictures: Sequence[Pixels], examples: Sequence[Pixels], floor: float) -> list[list[Region]]:
        """What looks like the examples, each a picture of one thing that fills it; one list a picture.

        SettingsError where the network can be asked by words alone.
        """
        if not isinstance(self._engine, _Owl):
            raise SettingsError(
                f"model {self._model!r} finds things by words only, not by example; name an OWLv2, such as {MODEL}."
            )
        with self._torch.inference_mode():
            return self._engine.alike(pictures, examples, floor)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A picture after the vision tower, without the patches that lie in its padding."""

    features: Any  # (patches, width) of the network's precision
    boxes: Any  # (patches, 4) float32: one for each patch, clipped to the picture


class _Owl:
    """OWLv2 (Minderer et al. 2023, arXiv:2306.09683): a box for each patch of the picture, compared with the queries.

    A picture passes the vision tower once, however many ask about it one after another. The heads compute in float32:
    bfloat16 has steps of 4 px of 960 for the edges of a box.
    """

    remembered = 32  # pictures: two chunks of frames in flight; 5.5 MB each in half precision for the base network
    fills = 0.8  # of the largest overlap with the whole example: boxes that may stand for it

    def __init__(self, folder: Path, batch: int, torch: Any) -> None:
        self._processor, self._network = _loaded(folder, devices.dtype())
        self._torch, self._batch = torch, batch
        for head in (self._network.class_head, self._network.box_head, self._network.objectness_head):
            head.float()
        self._seen = Remembered(self.remembered, lambda pictures: runtime.in_batches(pictures, self._batch, self._look))
        self._examples: dict[bytes, Any] = {}
        self._prompts: dict[tuple[str, ...], Any] = {}

    def find(self, pictures: Sequence[Pixels], prompts: tuple[str, ...], floor: float) -> list[list[Region]]:
        if prompts not in self._prompts:
            self._prompts[prompts] = self._asked(prompts)
        return [self._regions(seen, self._prompts[prompts], floor) for seen in self._seen(pictures)]

    def alike(self, pictures: Sequence[Pixels], examples: Sequence[Pixels], floor: float) -> list[list[Region]]:
        if not examples:
            return [[] for _ in pictures]
        keys = [content(example) for example in examples]
        unknown = {key: example for key, example in zip(keys, examples, strict=True) if key not in self._examples}
        shown = runtime.in_batches(list(unknown.values()), self._batch, self._look)
        self._examples |= {key: self._shown(seen) for key, seen in zip(unknown, shown, strict=True)}
        queries = self._torch.stack([self._examples[key] for key in keys])
        return [self._regions(seen, queries, floor) for seen in self._seen(pictures)]

    def _asked(self, prompts: tuple[str, ...]) -> Any:
        """(prompts, d): their places among the patches' class embeddings."""
        texts = [f"a photo of {prompt}" for prompt in prompts]  # as the network was trained
        tokens = self._processor.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        tokens = {name: tokens[name].to(devices.device()) for name in ("input_ids", "attention_mask")}
        return self._network.owlv2.get_text_features(**tokens).pooler_output.float()

    def _shown(self, seen: _Seen) -> Any:
        """(d,): the class embedding that stands for an example.

        Of the boxes that fill the picture (Minderer et al. 2022, arXiv:2205.06230, A1.7) the one that is the surest to
        be an object, by which OWLv2's authors choose: by that alone, a part of the example may be what is looked for.
        Zeros for an example so narrow that no patch lies in it; it is found nowhere.
        """
        if not len(seen.boxes):
            return self._network.class_head.dense0.bias * 0
        sides = seen.boxes[:, 2:] - seen.boxes[:, :2]
        filled = sides[:, 0] * sides[:, 1]
        features = seen.features.float()
        objects = self._network.objectness_head(features)[:, 0]
        best = objects.masked_fill(filled < self.fills * filled.max(), -self._torch.inf).argmax()
        return self._network.class_head(features[None], None, None)[1][0, best]

    def _regions(self, seen: _Seen, queries: Any, floor: float) -> list[Region]:
        logits, _ = self._network.class_head(seen.features.float()[None], queries[None], None)
        scores = logits[0].sigmoid().masked_fill((queries == 0).all(dim=1), -1)
        return _surest(scores, seen.boxes, floor)

    def _look(self, pictures: Sequence[Pixels]) -> list[_Seen]:
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

    def _placed(self, image: Image.Image, features: Any, boxes: Any) -> _Seen:
        """From a square, which the picture was padded to at its right or its bottom, to the picture itself."""
        side = max(image.size)
        scale = boxes.new_tensor([side / image.width, side / image.height] * 2)
        corners = (_corners(boxes) * scale).clamp(0, 1)
        inside = (corners[:, 2:] > corners[:, :2]).all(dim=1)
        return _Seen(features[inside], corners[inside])


class _Dino:
    """Grounding DINO (Liu et al. 2023, arXiv:2303.05499) and its kin: MM-Grounding DINO and, trained further, LLMDet.

    Words and picture meet early in the network, so that nothing of a picture can be kept for other prompts. A prompt's
    score is the mean over its tokens, as MMDetection evaluates these networks; the phrases that transformers'
    post-processing makes of single tokens belong to no prompt. In float32: boxes are refined layer by layer, and
    bfloat16 has steps of 5 px of 1333 for their edges.
    """

    narrowest = 1 / 16  # of the longer side

    def __init__(self, folder: Path, batch: int, torch: Any) -> None:
        self._processor, self._network = _loaded(folder, torch.float32)
        self._torch, self._batch = torch, batch

    def find(self, pictures: Sequence[Pixels], prompts: tuple[str, ...], floor: float) -> list[list[Region]]:
        tokens = self._tokens(prompts)

        def answer(some: Sequence[Pixels]) -> list[list[Region]]:
            images = [self._widened(Image.fromarray(pixels)) for pixels in some]
            asked = [list(prompts)] * len(images)
            inputs = self._processor(images=images, text=asked, padding=True, return_tensors="pt")
            outputs = self._network(**inputs.to(devices.device()))
            height, width = some[0].shape[:2]
            scale = outputs.pred_boxes.new_tensor([images[0].width / width, images[0].height / height] * 2)
            boxes = (_corners(outputs.pred_boxes) * scale).clamp(0, 1)
            scores = outputs.logits.sigmoid() @ tokens.T
            return [_surest(*one, floor) for one in zip(scores, boxes, strict=True)]

        # only those of one shape together: with others they would be padded, which changes what is found in them
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, pixels in enumerate(pictures):
            shapes.setdefault(pixels.shape, []).append(place)
        order = [place for places in shapes.values() for place in places]
        groups = [[pictures[place] for place in places] for places in shapes.values()]
        answers = [one for group in groups for one in runtime.in_batches(group, self._batch, answer)]
        return [found for _, found in sorted(zip(order, answers, strict=True), key=lambda pair: pair[0])]

    def _widened(self, image: Image.Image) -> Image.Image:
        """Padded at its right or bottom where it is so narrow that nothing of it would be left when it is resized."""
        least = math.ceil(max(image.size) * self.narrowest)
        return ImageOps.expand(image, (0, 0, max(0, least - image.width), max(0, least - image.height)))

    def _tokens(self, prompts: tuple[str, ...]) -> Any:
        """(prompts, longest text): which tokens are a prompt's, with equal weights that sum to 1."""
        longest = self._network.config.max_text_len
        shares = self._torch.zeros(len(prompts), longest, device=devices.device())
        start = 1  # after the token that begins a text; a full stop follows each prompt
        for row, prompt in enumerate(prompts):
            length = len(self._processor.tokenizer.tokenize(prompt.strip().lower()))
            shares[row, start : start + length] = 1 / length
            start += length + 1
        if start + 1 > longest:
            raise SettingsError(
                f"{len(prompts)} prompts are {start + 1} tokens; the model takes {longest}. Give fewer or shorter ones."
            )
        return shares


_ENGINES: dict[str, type[_Owl] | type[_Dino]] = {"owlv2": _Owl, "grounding-dino": _Dino, "mm-grounding-dino": _Dino}


def _loaded(folder: Path, dtype: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    network = AutoModelForZeroShotObjectDetection.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtype
    )
    return AutoProcessor.from_pretrained(folder, local_files_only=True), network.to(devices.device()).eval()


def _corners(boxes: Any) -> Any:
    """(..., 4): middle, width and height into left, top, right, bottom."""
    from transformers.image_transforms import center_to_corners_format

    return center_to_corners_format(boxes)


def _surest(scores: Any, boxes: Any, floor: float, most: int = 1000, same: float = 0.5) -> list[Region]:
    """The regions of scores (places, prompts) and boxes (places, 4), by non-maximum suppression for each prompt."""
    from torchvision.ops import batched_nms

    places, prompts = (scores >= floor).nonzero(as_tuple=True)
    values, order = scores[places, prompts].sort(descending=True, stable=True)
    values, places, prompts = values[:most], places[order[:most]], prompts[order[:most]]
    kept = batched_nms(boxes[places], values, prompts, same)
    found = zip(prompts[kept].tolist(), values[kept].tolist(), boxes[places[kept]].tolist(), strict=True)
    return [Region(prompt, score, (left, top, right, bottom)) for prompt, score, (left, top, right, bottom) in found]
