"""Text in pictures: every line of it, in reading order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps
from pydantic import Field

from cluster.records import Box, Detection, Modality, Sample
from deployments import backends
from deployments.detector import Detector, DetectorConfig, Infer


class OcrConfig(DetectorConfig):
    """The cost of looking for lines grows with the square of side_px; 960 reads subtitles of a 720p frame."""

    model: str = "package:rapidocr==3.10.0/rapidocr/models"
    cpus: float = Field(0.3, gt=0)
    floor: float = Field(0.5, ge=0, le=1)  # below it, lines are mostly edges and patterns taken for letters
    side_px: int = Field(960, ge=64)  # the longer side of what is searched for lines; smaller pictures are enlarged


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and where it stands, in fractions of the picture."""

    text: str
    score: float
    box: Box


class _RapidOcr:
    """RapidOCR: PaddleOCR's PP-OCRv6 small models as ONNX (Apache-2.0): list[Sample] -> list[list[Line]].

    Reads Latin scripts, Chinese and Japanese; not Hangul, Thai, Arabic or Cyrillic.
    """

    files: ClassVar[Mapping[str, str]] = {
        "Det": "PP-OCRv6_det_small.onnx",
        "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "Rec": "PP-OCRv6_rec_small.onnx",
    }
    least_share = (
        0.25  # of a strip's length is its height at least, padded: the engine enlarges or refuses narrower ones
    )

    def __init__(self, config: OcrConfig) -> None:
        (folder,) = backends.weights(config.model)
        with backends.quiet():
            import cv2
            from rapidocr import RapidOCR

            cv2.setNumThreads(1)
            paths = {f"{step}.model_path": str(folder / name) for step, name in self.files.items()}  # else: downloads
            self._engine: Any = RapidOCR(
                params={
                    **paths,
                    "Global.log_level": "critical",
                    "Global.text_score": 0.0,  # the floor is applied above
                    "Det.limit_type": "max",
                    "Det.limit_side_len": config.side_px,
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        self._side_px = config.side_px
        self([Ocr.example()])  # the engine loads its models when it first needs them

    def __call__(self, samples: list[Sample]) -> list[list[Line]]:
        return [self._read(sample.pixels) for sample in samples]

    def _read(self, pixels: Any) -> list[Line]:
        picture, scale = self._prepared(Image.fromarray(pixels))
        output = self._engine(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))
        if output.txts is None or output.boxes is None:
            return []
        height, width = pixels.shape[:2]
        corners = np.asarray(output.boxes, float) / (width * scale, height * scale)
        return [
            Line(text, float(score), _around(quad))
            for text, score, quad in zip(output.txts, output.scores, corners, strict=True)
        ]

    def _prepared(self, picture: Image.Image) -> tuple[Image.Image, float]:
        scale = max(1.0, self._side_px / max(picture.size))
        if scale > 1:
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        least = round(max(picture.size) * self.least_share)
        right, below = max(0, least - picture.width), max(0, least - picture.height)
        return ImageOps.expand(picture, (0, 0, right, below)) if right or below else picture, scale


class Ocr(Detector):
    """One detection "text" for a line: what it says, how well it was read, and its upright box."""

    Config = OcrConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _RapidOcr}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [
            [
                Detection("text", min(1.0, line.score), box=line.box, text=line.text.strip())
                for line in in_reading_order(lines)
                if line.score >= self.config.floor and line.text.strip()
            ]
            for lines in self.infer(samples)
        ]

    @classmethod
    def example(cls) -> Sample:
        """Two lines of black on white."""
        picture = Image.new("RGB", (640, 240), "white")
        font = ImageFont.load_default(size=48)
        ImageDraw.Draw(picture).multiline_text((40, 40), "RAYSIFT READS\nTHE SECOND LINE", "black", font, spacing=32)
        return Sample(pixels=np.asarray(picture))


def in_reading_order(lines: list[Line]) -> list[Line]:
    """From top to bottom, and from left to right among those that stand in one row.

    A line belongs to the row whose first line's middle third holds its own middle.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle):
        first = rows[-1][0] if rows else None
        if first is not None and _middle(line) - _middle(first) < (first.box[3] - first.box[1]) / 3:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _middle(line: Line) -> float:
    return (line.box[1] + line.box[3]) / 2


def _around(corners: npt.NDArray[Any]) -> Box:
    (left, top), (right, bottom) = corners.min(axis=0).clip(0, 1), corners.max(axis=0).clip(0, 1)
    return float(left), float(top), float(right), float(bottom)
