"""Open-vocabulary detection: objects found in pictures by a text, or by an example picture."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from cluster.errors import SettingsError
from deployments.models import devices, runtime
from deployments.models.frame_cache import Pixels
from deployments.models.owlv2 import Owlv2
from deployments.models.regions import Region, corners, load_network, strongest

MODEL = "hf:google/owlv2-base-patch16-ensemble@main"


class OpenVocabulary:
    """OWLv2, Grounding DINO or MM-Grounding DINO (LLMDet), chosen by the `model_type` of the model's config.json.

    Detectors that share a process take it from `runtime.shared(f"open vocabulary {model}", ...)`. A picture's regions
    are sorted by score, the highest first; of regions of one prompt that overlap by half only the strongest is kept.
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
        """For each picture the regions that a prompt ("handcuffs", "a leather belt") names, `floor` at least.

        Prompts have no full stop. One place may be a region of several prompts.
        """
        with self._torch.inference_mode():
            return self._engine.find(pictures, prompts, floor)

    def alike(self, pictures: Sequence[Pixels], examples: Sequence[Pixels], floor: float) -> list[list[Region]]:
        """For each picture the regions that look like an example; an example is a picture that one object fills.

        SettingsError if the network takes texts only.
        """
        if not isinstance(self._engine, Owlv2):
            raise SettingsError(
                f"model {self._model!r} finds things by words only, not by example; name an OWLv2, such as {MODEL}."
            )
        with self._torch.inference_mode():
            return self._engine.alike(pictures, examples, floor)


class _Dino:
    """Grounding DINO (Liu et al. 2023, arXiv:2303.05499), MM-Grounding DINO, LLMDet (Fu et al. 2025, arXiv:2501.18954).

    Text and picture are fused early in the network, so a picture's features cannot be cached for other prompts. A
    prompt's score is the mean over its tokens, as MMDetection evaluates these networks; the phrases that transformers'
    post-processing makes of single tokens belong to no prompt. In float32: boxes are refined layer by layer, and in
    bfloat16 their edges have steps of 5 px of 1333.
    """

    min_side = 1 / 16  # of the longer side

    def __init__(self, folder: Path, batch: int, torch: Any) -> None:
        self._processor, self._network = load_network(folder, torch.float32)
        self._torch, self._batch = torch, batch

    def find(self, pictures: Sequence[Pixels], prompts: tuple[str, ...], floor: float) -> list[list[Region]]:
        """For each picture the regions that a prompt names, with a score of `floor` at least."""
        tokens = self._tokens(prompts)

        def answer(batch: Sequence[Pixels]) -> list[list[Region]]:
            images = [self._widened(Image.fromarray(pixels)) for pixels in batch]
            texts = [list(prompts)] * len(images)
            inputs = self._processor(images=images, text=texts, padding=True, return_tensors="pt")
            outputs = self._network(**inputs.to(devices.device()))
            height, width = batch[0].shape[:2]
            scale = outputs.pred_boxes.new_tensor([images[0].width / width, images[0].height / height] * 2)
            boxes = (corners(outputs.pred_boxes) * scale).clamp(0, 1)
            scores = outputs.logits.sigmoid() @ tokens.T
            return [strongest(*picture, floor) for picture in zip(scores, boxes, strict=True)]

        # pictures of one shape form a batch: padding to a common shape would change the results
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, pixels in enumerate(pictures):
            shapes.setdefault(pixels.shape, []).append(place)
        order = [place for places in shapes.values() for place in places]
        groups = [[pictures[place] for place in places] for places in shapes.values()]
        answers = [regions for group in groups for regions in runtime.in_batches(group, self._batch, answer)]
        return [regions for _, regions in sorted(zip(order, answers, strict=True), key=lambda pair: pair[0])]

    def _widened(self, image: Image.Image) -> Image.Image:
        """Padded at right or bottom if it is so narrow that resizing would leave nothing of it."""
        least = math.ceil(max(image.size) * self.min_side)
        return ImageOps.expand(image, (0, 0, max(0, least - image.width), max(0, least - image.height)))

    def _tokens(self, prompts: tuple[str, ...]) -> Any:
        """(prompts, longest text): the weight of each token in each prompt's score; equal, with a sum of 1."""
        longest = self._network.config.max_text_len
        shares = self._torch.zeros(len(prompts), longest, device=devices.device())
        start = 1  # after the [CLS] token; a full stop follows each prompt
        for row, prompt in enumerate(prompts):
            length = len(self._processor.tokenizer.tokenize(prompt.strip().lower()))
            shares[row, start : start + length] = 1 / length
            start += length + 1
        if start + 1 > longest:
            raise SettingsError(
                f"{len(prompts)} prompts are {start + 1} tokens; the model takes {longest}. Give fewer or shorter ones."
            )
        return shares


_ENGINES: dict[str, type[Owlv2] | type[_Dino]] = {"owlv2": Owlv2, "grounding-dino": _Dino, "mm-grounding-dino": _Dino}
