"""Text in pictures (OCR), line by line in reading order."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps
from pydantic import Field

from cluster.errors import SettingsError
from cluster.records import Box, Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import devices, runtime
from deployments.models.reading import text_lines
from deployments.models.reading.reading_order import Line, in_lines

Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB
Size = tuple[int, int]  # width, height in pixels

LEAST_SHARE = 0.25  # strips are padded to this ratio of sides: the engines enlarge or refuse narrower ones

_HUB = "hf:xiaoyao9184/easyocr@17cdb173ef73b32eb6e9d1270f33b30154b03908"


class OcrConfig(DetectorConfig):
    """Settings of ocr. The cost of text detection grows with the square of side_px; 960 reads subtitles at 720p.

    EasyOCR publishes its weights on GitHub; the model named here is a copy on the hub, pinned to the bytes of the
    originals (Apache-2.0). For other languages, name another of EasyOCR's recognisers as the second part.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "gpu": {
            "model": (
                f"{_HUB}/craft_mlt_25k.pth#sha256=4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17 + "
                f"{_HUB}/english_g2.pth#sha256=e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8"
            ),
            "floor": 0.3,
            "gpu_memory_gb": 2.0,
        }
    }

    model: str = "package:rapidocr==3.10.0/rapidocr/models"
    cpus: float = Field(0.3, gt=0)
    floor: float = Field(0.5, ge=0, le=1)  # lines below it are mostly edges and patterns misread as letters
    side_px: int = Field(960, ge=64)  # longer side of the picture in text detection; smaller pictures are enlarged
    languages: tuple[str, ...] = ("en",)  # codes of EasyOCR; RapidOCR reads all its scripts with one model
    frames: int = Field(4, ge=1)  # of one size in a batch of EasyOCR's text detection
    batch: int = Field(32, ge=1)  # lines in a batch of EasyOCR's recognition, on a card


class _RapidOcr:
    """RapidOCR with PaddleOCR's PP-OCRv6 small models in ONNX (Apache-2.0): list[Sample] -> list[list[Line]].

    Reads Latin scripts, Chinese and Japanese; not Hangul, Thai, Arabic or Cyrillic. A short line that is not beside a
    longer one is read again with other margins, turned and blurred: edges of a texture are then read as something else
    or with low scores. Of 18 drawn signs of one or two letters all but "Ä" had a mean of 0.91 and more.
    """

    margins = (-0.08, 0.1, 0.25)  # of the box of a short line, over its height
    turns_deg = (-8, 8)
    blur = 0.03  # standard deviation over the height
    reread_score, reread_mean = 0.6, 0.9  # least score of each of these readings, and of their mean
    most_reread = 12  # lines of a picture
    files: ClassVar[Mapping[str, str]] = {
        "Det": "PP-OCRv6_det_small.onnx",
        "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "Rec": "PP-OCRv6_rec_small.onnx",
    }

    def __init__(self, config: OcrConfig) -> None:
        (folder,) = runtime.weights(config.model)
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
                    "Det.limit_side_len": config.side_px,
                    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                }
            )
        self._crops, self._config = TextRecInput, config
        self([Ocr.example()])  # the engine loads its models at the first call

    def __call__(self, samples: list[Sample]) -> list[list[Line]]:
        return [self._read(sample.pixels) for sample in samples]

    def _read(self, pixels: Any) -> list[Line]:
        picture, size = _prepared(pixels, self._config.side_px)
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        output = self._engine(bgr)
        if output.txts is None or output.boxes is None:
            return []
        lines = [
            Line(text, float(score), _around(quad, size))
            for text, score, quad in zip(output.txts, output.scores, output.boxes, strict=True)
        ]
        credible = text_lines.text_lines(lines, self._config.floor, size[0] / size[1])
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


class _EasyOcr:
    """EasyOCR: CRAFT (Baek et al. 2019, arXiv:1904.01941) and a CRNN (Shi et al. 2015, arXiv:1507.05717).

    list[Sample] -> list[list[Line]]. Its weights (Apache-2.0) are pickles; torch's weights-only unpickler reads them,
    after EasyOCR's own check of their MD5.
    """

    def __init__(self, config: OcrConfig) -> None:
        detector, recognizer = runtime.weights(config.model, parts=2)
        runtime.torch_on_one_thread()
        with runtime.quiet(), weights_only_unpickling(), tempfile.TemporaryDirectory() as folder:
            import cv2
            import easyocr

            cv2.setNumThreads(1)
            for file in (detector, recognizer):
                Path(folder, file.name).symlink_to(file)
            try:
                self._reader: Any = easyocr.Reader(
                    list(config.languages),
                    gpu=False,  # True wraps the networks in DataParallel even for one card; they are moved below
                    model_storage_directory=folder,
                    user_network_directory=folder,  # the default is created in the home folder
                    download_enabled=False,
                    quantize=False,  # as on a card
                    verbose=False,
                )
            except (FileNotFoundError, ValueError) as error:
                raise SettingsError(
                    f"EasyOCR cannot read {', '.join(config.languages)} with {detector} and {recognizer} ({error}). "
                    "detectors.ocr.model must name craft_mlt_25k.pth and the recogniser of detectors.ocr.languages, as "
                    "EasyOCR publishes them."
                ) from None
            finally:
                sys.path.remove(folder)  # EasyOCR added it
        self._reader.detector.to(devices.device())
        self._reader.recognizer.to(devices.device())
        self._reader.device = devices.device()
        self._config = config

    def __call__(self, samples: list[Sample]) -> list[list[Line]]:
        pictures = [_prepared(sample.pixels, self._config.side_px) for sample in samples]
        found: list[list[Line]] = [[] for _ in pictures]
        with runtime.quiet():  # without a card torch warns of EasyOCR's pinned memory
            for shape in dict.fromkeys(picture.shape for picture, _ in pictures):
                alike = [n for n, (picture, _) in enumerate(pictures) if picture.shape == shape]
                lines = runtime.in_batches([pictures[n] for n in alike], self._config.frames, self._read)
                for n, read in zip(alike, lines, strict=True):
                    found[n] = read
        return found

    def _read(self, pictures: Sequence[tuple[Pixels, Size]]) -> list[list[Line]]:
        import cv2

        batch = np.stack([picture for picture, _ in pictures])
        upright, slanted = self._reader.detect(batch, canvas_size=self._config.side_px, reformat=False)
        found = []
        for (picture, size), boxes, quads in zip(pictures, upright, slanted, strict=True):
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            read = self._reader.recognize(grey, boxes, quads, batch_size=self._config.batch, reformat=False)
            found.append([Line(text, float(score), _around(quad, size)) for quad, text, score in read])
        return found


class Ocr(Detector):
    """One detection "text" for each line: its text, the recognition score, and its axis-parallel box.

    Which lines are text: deployments/models/reading/text_lines.py.
    """

    Config = OcrConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    detail: ClassVar[bool] = True
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _RapidOcr, "gpu": _EasyOcr}

    @classmethod
    def version(cls, config: OcrConfig) -> str:
        """The model and the rules for lines; of `gpu`, with the languages."""
        languages = f"; languages {', '.join(config.languages)}" if config.backend == "gpu" else ""
        return f"{config.model}{languages} {text_lines.RULES}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The lines of each picture in reading order."""
        detections = []
        for sample, read in zip(samples, self.infer(samples), strict=True):
            assert sample.pixels is not None
            height, width = sample.pixels.shape[:2]
            kept = text_lines.text_lines(read, self.config.floor, width / height)
            lines = in_lines(kept, width / height)
            detections.append([Detection("text", min(1.0, line.score), box=line.box, text=line.text) for line in lines])
        return detections

    @classmethod
    def example(cls) -> Sample:
        """Two lines of black text on white."""
        picture = Image.new("RGB", (640, 240), "white")
        font = ImageFont.load_default(size=48)
        ImageDraw.Draw(picture).multiline_text((40, 40), "RAYSIFT READS\nTHE SECOND LINE", "black", font, spacing=32)
        return Sample(pixels=np.asarray(picture))


def _around(corners: Any, size: Size) -> Box:
    points = np.asarray(corners, float) / size
    (left, top), (right, bottom) = points.min(axis=0).clip(0, 1), points.max(axis=0).clip(0, 1)
    return float(left), float(top), float(right), float(bottom)


def _prepared(pixels: Any, side_px: int) -> tuple[Pixels, Size]:
    """The picture with a longer side of side_px at least, padded if it is a strip; and its size without padding."""
    picture = Image.fromarray(pixels)
    scale = max(1.0, side_px / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if scale > 1:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    least = round(max(size) * LEAST_SHARE)
    picture = ImageOps.expand(picture, (0, 0, max(0, least - size[0]), max(0, least - size[1])))
    return np.asarray(picture), size


@contextmanager
def weights_only_unpickling() -> Iterator[None]:
    """Make every torch.load refuse pickled code, even if it is called with weights_only=False."""
    switch, before = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ[switch] = "1"
    try:
        yield
    finally:
        os.environ.pop(switch)
        if before is not None:
            os.environ[switch] = before
