"""What a viewer gets of a thumbnail: measured on the pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from cluster.access.rules import EXPLICIT
from deployments.access.blurring import for_viewer

FACE = (0.25, 0.25, 0.5, 0.5)


def jpeg() -> bytes:
    """Noise of 320 x 240, in which every detail is visible."""
    sink = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "JPEG", quality=95, exif=b"Exif\0\0secret")
    return sink.getvalue()


def row(**more):
    return {"jpeg": jpeg(), "kind": "image", "answered": ["face", "nsfw"], "explicit": None, "faces": None} | more


def detail(picture: bytes, box=(0.0, 0.0, 1.0, 1.0)) -> float:
    """The mean difference of neighbouring pixels in a box."""
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), float)
    part = image[int(box[1] * 240) : int(box[3] * 240), int(box[0] * 320) : int(box[2] * 320)]
    return float(np.abs(np.diff(part, axis=1)).mean())


def test_a_picture_without_faces_that_is_not_explicit_is_sent_as_it_is():
    assert for_viewer(row(explicit=EXPLICIT - 0.01)) == jpeg()


@pytest.mark.parametrize(
    "more",
    [
        {"explicit": EXPLICIT},
        {"explicit": 0.99, "faces": [FACE]},
        {"kind": "video", "faces": [FACE]},  # the box is of another frame
        {"faces": [FACE, None]},
        {"answered": ["face"]},
        {"answered": ["nsfw"]},
        {"answered": None},
    ],
)
def test_what_is_explicit_unplaced_or_not_analysed_is_blurred_as_a_whole(more):
    assert detail(for_viewer(row(**more))) < detail(jpeg()) / 20


def test_a_face_is_blurred_with_a_margin_and_the_rest_stays():
    shown = for_viewer(row(faces=[FACE]))
    assert detail(shown, (0.2, 0.2, 0.55, 0.55)) < detail(jpeg()) / 10
    assert detail(shown, (0.65, 0.0, 1.0, 1.0)) > detail(jpeg()) / 2
    assert b"secret" not in shown


@pytest.mark.parametrize(
    "box", [(-0.5, -0.5, 2.0, 2.0), (0.99, 0.99, 1.0, 1.0), (1.5, 1.5, 2.0, 2.0), (0.5, 0.5, 0.4, 0.4)]
)
def test_a_box_that_reaches_beyond_the_picture_is_cut(box):
    assert Image.open(io.BytesIO(for_viewer(row(faces=[box])))).size == (320, 240)
