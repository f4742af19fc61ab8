"""Text in pictures (OCR), line by line in reading order."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from cluster.errors import SettingsError
from cluster.records import Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer
from deployments.models import devices, runtime
from deployments.models.boxes import turned_back
from deployments.models.reading import text_lines, turned_text
from deployments.models.reading.prepared import Pixels, Size, around, prepared
from deployments.models.reading.rapid_ocr import RapidOcr
from deployments.models.reading.reading_order import Line, in_lines
from deployments.models.reading.turned_text import Reading

UNREAD = "unread text"  # the label of regions that look like lines of a script that the model does not know
UNKNOWN_SCRIPT = "it looks like a line of text, but in no script that this model reads"

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


def _rapid_ocr(config: OcrConfig) -> RapidOcr:
    (folder,) = runtime.weights(config.model)
    return RapidOcr(folder, config.side_px, config.floor, Ocr.example())


class _EasyOcr:
    """EasyOCR: CRAFT (Baek et al. 2019, arXiv:1904.01941) and a CRNN (Shi et al. 2015, arXiv:1507.05717).

    list[Sample] -> list[Reading]. Its weights (Apache-2.0) are pickles; torch's weights-only unpickler reads them,
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

    def __call__(self, samples: list[Sample]) -> list[Reading]:
        """What is read in each picture; where that is weak, it is tried in all turns."""
        upright = [Reading(lines) for lines in self._lines([np.asarray(sample.pixels) for sample in samples])]
        return [
            turned_text.better(reading, self._turned(np.asarray(sample.pixels)))
            if turned_text.is_weak(reading.lines)
            else reading
            for sample, reading in zip(samples, upright, strict=True)
        ]

    def _turned(self, pixels: Pixels) -> list[tuple[Reading, float]]:
        turns = (1, 2, 3)
        found = self._lines([np.rot90(pixels, quarters) for quarters in turns])
        return [(Reading(lines, n), turned_text.PARTLY) for lines, n in zip(found, turns, strict=True)]

    def _lines(self, upright: list[Pixels]) -> list[list[Line]]:
        pictures = [prepared(pixels, self._config.side_px) for pixels in upright]
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
            found.append([Line(text, float(score), around(quad, size)) for quad, text, score in read])
        return found


class Ocr(Detector):
    """One detection "text" for each line: its text, the recognition score, and its axis-parallel box.

    RapidOCR's regions that look like lines of a script that it does not read are detections "unread text" without text.
    Which lines are text: deployments/models/reading/text_lines.py.
    """

    Config = OcrConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    detail: ClassVar[bool] = True
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _rapid_ocr, "gpu": _EasyOcr}

    @classmethod
    def version(cls, config: OcrConfig) -> str:
        """The model, the rules for lines, and that turned pictures are read; of `gpu`, with the languages."""
        languages = f"; languages {', '.join(config.languages)}" if config.backend == "gpu" else ""
        return f"{config.model}{languages} {text_lines.RULES}, {turned_text.TURNED}"

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The lines of each picture in reading order."""
        detections = []
        for sample, read in zip(samples, self.infer(samples), strict=True):
            assert sample.pixels is not None
            height, width = sample.pixels.shape[:2]
            aspect = height / width if read.quarters % 2 else width / height
            lines = in_lines(text_lines.text_lines(read.lines, self.config.floor, aspect), aspect)
            detections.append([_detection(line, read.quarters) for line in lines])
            detections[-1] += [_unread(line, read.quarters) for line in read.unread if line.score >= self.config.floor]
        return detections

    @classmethod
    def example(cls) -> Sample:
        """Two lines of black text on white."""
        picture = Image.new("RGB", (640, 240), "white")
        font = ImageFont.load_default(size=48)
        ImageDraw.Draw(picture).multiline_text((40, 40), "RAYSIFT READS\nTHE SECOND LINE", "black", font, spacing=32)
        return Sample(pixels=np.asarray(picture))


def _detection(line: Line, quarters: int) -> Detection:
    return Detection("text", min(1.0, line.score), box=turned_back(line.box, quarters), text=line.text)


def _unread(region: Line, quarters: int) -> Detection:
    return Detection(UNREAD, min(1.0, region.score), box=turned_back(region.box, quarters), evidence=UNKNOWN_SCRIPT)


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
