"""QR codes and barcodes: where they are in a picture, and what is written in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from cluster.records import Box, Detection, Modality, Sample
from deployments.detector import Detector, DetectorConfig, Infer


class BarcodeConfig(DetectorConfig):
    """Settings of barcode. It has no weights, needs no card, and takes about 20 ms of a core for a 720p frame.

    `embedded` shares the process of clip and restraint: a process of its own would import Ray and Serve once more (3
    CPU-s and 120 MB), and its calls are short beside those of the slowest detector, ocr, for which a file waits.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"embedded": {"colocate": "concepts"}}

    model: str = f"zxing-cpp {metadata.version('zxing-cpp')}"
    cpus: float = Field(0.1, gt=0)
    symbologies: str = ""  # as zxing-cpp names them: "QRCode,EAN13"; empty: all that it reads
    letters: int = Field(4, ge=1)  # a shorter payload of symbologies without a check digit is a misread pattern

    @field_validator("symbologies")
    @classmethod
    def _known(cls, symbologies: str) -> str:
        import zxingcpp

        zxingcpp.barcode_formats_from_str(symbologies)  # ValueError names what it does not know
        return symbologies


@dataclass(frozen=True, slots=True)
class Code:
    """A code: its symbology, its payload as text and as bytes, and its box in fractions of the picture."""

    symbology: str
    text: str
    payload: bytes
    box: Box


class _ZXing:
    """zxing-cpp (Apache-2.0, github.com/zxing-cpp/zxing-cpp): list[Sample] -> list[list[Code]].

    It reads codes in any direction, also light on dark. A code whose check sum or error correction fails is left out;
    so is a payload of fewer than `letters` characters in a symbology that has neither.
    """

    unchecked = ("Codabar", "Code39", "ITF", "ITF14", "DXFilmEdge")

    def __init__(self, config: BarcodeConfig) -> None:
        import zxingcpp

        self._read: Callable[..., Any] = zxingcpp.read_barcodes
        self._formats = zxingcpp.barcode_formats_from_str(config.symbologies) if config.symbologies else None
        self._letters = config.letters

    def __call__(self, samples: list[Sample]) -> list[list[Code]]:
        return [self._codes(np.asarray(sample.pixels)) for sample in samples]

    def _codes(self, pixels: Any) -> list[Code]:
        height, width = pixels.shape[:2]
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        chosen = {"formats": self._formats} if self._formats is not None else {}
        codes = []
        for code in self._read(grey, **chosen):
            corners = (code.position.top_left, code.position.top_right, code.position.bottom_right)
            points = [(corner.x / width, corner.y / height) for corner in (*corners, code.position.bottom_left)]
            xs, ys = ([min(1.0, max(0.0, side)) for side in sides] for sides in zip(*points, strict=True))
            if code.format.name not in self.unchecked or len(code.text) >= self._letters:
                box = (min(xs), min(ys), max(xs), max(ys))
                codes.append(Code(code.format.name, code.text, code.bytes, box))
        return codes


class Barcode(Detector):
    """One detection for each code: the label is its symbology, "QRCode" or "EAN13"; the text is its payload.

    The score is 1: check sums and error correction leave no doubt. If a payload is not UTF-8, its text is
    zxing-cpp's guess, control characters as "<NUL>", and its bytes are in the evidence, in hexadecimal.
    """

    Config = BarcodeConfig
    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    backends: ClassVar[Mapping[str, Callable[[Any], Infer]]] = {"embedded": _ZXing}
    # a code in a screenshot of several pages is smaller than a pixel a bar once that is shrunk
    detail: ClassVar[bool] = True
    most_bytes = 256  # of a payload in the evidence

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        """The codes of each picture, from top to bottom and left to right."""
        return [
            [self._found(code) for code in sorted(codes, key=lambda code: (code.box[1], code.box[0]))]
            for codes in self.infer(samples)
        ]

    def _found(self, code: Code) -> Detection:
        evidence = None
        try:
            code.payload.decode()
        except UnicodeDecodeError:
            more = "..." if len(code.payload) > self.most_bytes else ""
            evidence = f"its {len(code.payload)} bytes are not UTF-8: {code.payload[: self.most_bytes].hex()}{more}"
        return Detection(code.symbology, 1.0, box=code.box, text=code.text, evidence=evidence)

    @classmethod
    def example(cls) -> Sample:
        """A QR code of an address."""
        import zxingcpp

        code = zxingcpp.create_barcode("https://example.org/raysift", zxingcpp.BarcodeFormat.QRCode)
        grey = np.asarray(zxingcpp.write_barcode_to_image(code, scale=4))
        return Sample(pixels=np.repeat(grey[:, :, None], 3, axis=2))
