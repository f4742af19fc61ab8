"""Exports in COCO's format for object detection: one JSON object with images, annotations and categories."""

import gzip
import json
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import Any

from deployments.catalog.shapes import Json

PIECE_BYTES = 1 << 20


class Coco:
    """The pictures of an export, and the boxes in them; other files and detections without a box are left out.

    A box is [x, y, width, height] in pixels of the whole upright picture. A category is a label of one detector, which
    is its supercategory. An image has its `decision`, if there is one. An annotation also has `score`, `text` that was
    read there, and `time_s` in an animation.

    All images come before the annotations, which wait in a compressed temporary file.
    """

    def __init__(self) -> None:
        self._images = self._annotations = 0
        self._categories: dict[tuple[str, str], int] = {}
        self._file = TemporaryFile(prefix="raysift-export-")  # noqa: SIM115, closed by `end`, or with this object
        self._waiting = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1)

    def add(self, lines: Sequence[Json]) -> bytes:
        """As formats.Encoder."""
        images = []
        for line in lines:
            if line["kind"] != "image" or not line["width"] or not line["height"]:
                continue
            start = b',\n{"id":' if self._images else b'{"info":{"description":"Raysift"},"images":[\n{"id":'
            self._images += 1
            image = {"file_name": line["uri"], "width": line["width"], "height": line["height"]}
            if line["decision"]:
                image["decision"] = line["decision"]
            images.append(b"%s%d,%s" % (start, self._images, _dump(image)[1:]))
            for detection in line["detections"]:
                if detection["box"] is not None:
                    self._annotate(detection, line["width"], line["height"])
        return b"".join(images)

    def _annotate(self, detection: Json, width: int, height: int) -> None:
        category = detection["detector"], detection["label"]
        left, top, right, bottom = detection["box"]
        x, y, w, h = left * width, top * height, (right - left) * width, (bottom - top) * height
        self._annotations += 1
        annotation = {
            "id": self._annotations,
            "image_id": self._images,
            "category_id": self._categories.setdefault(category, len(self._categories) + 1),
            "bbox": [round(value, 2) for value in (x, y, w, h)],
            "area": round(w * h, 2),
            "iscrowd": 0,
            "score": detection["score"],
        }
        more = {key: detection[key] for key in ("text", "time_s") if detection[key] is not None}
        self._waiting.write((b",\n" if self._annotations > 1 else b"\n") + _dump(annotation | more))

    def end(self) -> Iterator[bytes]:
        """As formats.Encoder."""
        self._waiting.close()
        self._file.seek(0)
        with self._file, gzip.GzipFile(fileobj=self._file) as annotations:
            yield (
                b'],\n"annotations":['
                if self._images
                else b'{"info":{"description":"Raysift"},"images":[],"annotations":['
            )
            while piece := annotations.read(PIECE_BYTES):
                yield piece
        categories = [
            {"id": id, "name": label, "supercategory": detector} for (detector, label), id in self._categories.items()
        ]
        yield b'],\n"categories":%s}\n' % _dump(categories)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
