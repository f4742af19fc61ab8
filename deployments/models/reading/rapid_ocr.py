"""RapidOCR: text in pictures with small networks on a CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cluster.records import Sample
from deployments.models import runtime
from deployments.models.reading import text_lines, turned_text
from deployments.models.reading.prepared import Pixels, Size, around, prepared
from deployments.models.reading.reading_order import Line
from deployments.models.reading.turned_text import Reading


class RapidOcr:
    """RapidOCR with PaddleOCR's PP-OCRv6 small models in ONNX (Apache-2.0): list[Sample] -> list[Reading].

    Reads Latin scripts, Chinese and Japanese; not Hangul, Thai, Arabic or Cyrillic. A short line that is not beside a
    longer one is read again with other margins, turned and blurred: edges of a texture are then read as something else
    or with low scores. Of 18 drawn signs of one or two letters all but "Ä" had a mean of 0.91 and more.
    """

    margins = (-0.08, 0.1, 0.25)  # of the box of a short line, over its height
    turns_deg = (-8, 8)
    blur = 0.03  # standard deviation over the height
    reread_score, reread_mean = 0.6, 0.9  # least score of each of these readings, and of their mean
    most_reread = 12  # lines of a picture
    sure_turn = 0.9  # as the engine's own threshold, beyond which it turns a line before it reads it
    files: ClassVar[Mapping[str, str]] = {
        "Det": "PP-OCRv6_det_small.onnx",
        "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "Rec": "PP-OCRv6_rec_small.onnx",
    }

    def __init__(self, folder: Path, side_px: int, floor: float, example: Sample) -> None:
        with runtime.quiet():
            import cv2
            from rapidocr import RapidOCR
            from rapidocr.ch_ppocr_rec import TextRecInput

            cv2.setNumThreads(1)
            paths = {
                f"{step}.model_path": str(folder / name) for step, name in self.files.items()
            }  # without them it downloads models
            self._engine: Any = RapidOCR(
                params={
                    **paths,
                    "Global.log_level": "critical",
                    "Global.text_score": 0.0,  # Ocr.detect applies the floor
                    "Det.limit_type": "max",
                    "Det.limit_side_len": side_px,
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        self._crops, self._side_px, self._floor = TextRecInput, side_px, floor
        self([example])  # the engine loads its models at the first call

    def __call__(self, samples: list[Sample]) -> list[Reading]:
        """What is read in each picture."""
        return [self._reading(sample.pixels) for sample in samples]

    def _reading(self, pixels: Any) -> Reading:
        """What is read in a picture, turned if that makes its text upright."""
        bgr, size, lines, unread = self._read(pixels)
        upright = Reading(self._credible(bgr, size, lines), 0, unread)
        turns = turned_text.turns(bgr[: size[1], : size[0]], [line.box for line in lines], self._are_upside_down)
        return turned_text.better(upright, [(self._turned(pixels, n), share) for n, share in turns.items()])

    def _turned(self, pixels: Any, quarters: int) -> Reading:
        bgr, size, lines, unread = self._read(np.rot90(pixels, quarters))
        return Reading(self._credible(bgr, size, lines), quarters, unread)

    def _read(self, pixels: Any) -> tuple[Pixels, Size, list[Line], list[Line]]:
        """The prepared picture as BGR, the engine's order; its size without padding; what is read in it, and what not.

        The steps are those of the engine, which drops regions without letters; they tell of unknown scripts.
        """
        from rapidocr.utils.process_img import map_boxes_to_original

        picture, size = prepared(pixels, self._side_px)
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        shrunk, steps = self._engine.preprocess_img(bgr)
        found, _, read, crops = self._engine.run_ocr_steps(shrunk, steps)
        if found.boxes is None or read.txts is None:
            return bgr, size, [], []
        boxes = map_boxes_to_original(found.boxes, steps, *bgr.shape[:2])
        lines, unread = [], []
        for text, score, quad, region, crop in zip(read.txts, read.scores, boxes, found.scores, crops, strict=True):
            box = around(quad, size)
            if text_lines.is_unread(text, region, score, crop.shape[1] / crop.shape[0]):
                unread.append(Line("", float(region), box))
            if text.strip():
                lines.append(Line(text, float(score), box))
        return bgr, size, lines, unread

    def _are_upside_down(self, crops: list[Pixels]) -> list[bool | None]:
        """Whether each picture of a line is upside down, by the engine's classifier; None: it is not sure."""
        sure = self._engine.text_cls(crops).cls_res
        return ["180" in label if score >= self.sure_turn else None for label, score in sure]

    def _credible(self, bgr: Pixels, size: Size, lines: list[Line]) -> list[Line]:
        """The lines that are text."""
        credible = text_lines.text_lines(lines, self._floor, size[0] / size[1])
        longer = [line for line in credible if not text_lines.is_short(line)]
        alone = [
            line
            for line in credible
            if text_lines.is_short(line) and not text_lines.is_beside(line, longer, size[0] / size[1])
        ]
        if len(alone) > self.most_reread:  # a table or a keypad, which costs much to read again
            return credible
        doubtful = [line for line in alone if not self._is_read_again(line, bgr, size)]
        return [line for line in credible if line not in doubtful]

    def _is_read_again(self, line: Line, bgr: Pixels, size: Size) -> bool:
        """Whether the line has the same text in crops with other margins, in turned ones and in a blurred one."""
        import cv2

        left, top, right, bottom = (side * length for side, length in zip(line.box, size * 2, strict=True))
        crops: list[Any] = []
        for margin in self.margins:
            more = margin * min(bottom - top, right - left)
            rows = slice(max(0, int(top - more)), int(min(size[1], bottom + more)) + 1)
            crop = bgr[rows, max(0, int(left - more)) : int(min(size[0], right + more)) + 1]
            upright = np.rot90(crop) if crop.shape[0] >= 1.5 * crop.shape[1] else crop  # as the engine does
            crops.append(np.ascontiguousarray(upright))
        middle = crops[1]
        high, wide = middle.shape[:2]
        for turn in self.turns_deg:
            matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, 1)
            crops.append(cv2.warpAffine(middle, matrix, (wide, high), borderMode=cv2.BORDER_REPLICATE))
        crops.append(cv2.GaussianBlur(middle, (0, 0), max(0.5, self.blur * high)))
        again = self._engine.text_rec(self._crops(img=crops))
        if {text.strip().casefold() for text in again.txts or ("",)} != {line.text.strip().casefold()}:
            return False
        return min(again.scores) >= self.reread_score and sum(again.scores) / len(crops) >= self.reread_mean
