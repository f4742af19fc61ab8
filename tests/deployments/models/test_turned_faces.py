import numpy as np
import pytest

from deployments.models.boxes import turned_back
from deployments.models.faces import Seen
from deployments.models.turned_faces import RETRY_PX, turned

POINTS = np.zeros((5, 2))


def marked(quarters):
    """A picture whose white mark is at the top left when it is turned by these quarters."""
    upright = np.zeros((600, 800, 3), np.uint8)
    upright[:100, :100] = 255
    return np.ascontiguousarray(np.rot90(upright, -quarters))


def find(pixels):
    """A stand-in that sees a face in a mark at the top left."""
    return [Seen((0, 0, pixels.shape[1] / 8, pixels.shape[0] / 6), 0.99, POINTS)] if pixels[2, 2, 0] > 128 else []


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_face_is_found_and_its_box_is_where_it_is_in_the_picture(quarters):
    picture = marked(quarters)
    view = turned(picture, [], find, 24, 0.97)
    assert view.quarters == quarters
    ((left, top, right, bottom),) = [face.box for face in view.seen]
    height, width = view.pixels.shape[:2]
    box = turned_back((left / width, top / height, right / width, bottom / height), view.quarters)
    ys, xs = np.nonzero(picture[:, :, 0])
    height, width = picture.shape[:2]
    ink = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
    assert box == pytest.approx(ink, abs=0.04)


def test_a_picture_without_a_face_stays_upright_and_is_looked_at_in_small_only():
    sizes = []
    empty = np.zeros((600, 800, 3), np.uint8)
    view = turned(empty, [], lambda pixels: sizes.append(max(pixels.shape)) or [], 24, 0.97)
    assert (view.quarters, view.seen) == (0, []) and view.pixels is empty
    assert sizes == [RETRY_PX] * 3


def test_a_doubtful_turned_face_is_none_and_a_doubtful_upright_one_stays():
    def doubtful(pixels):
        return [Seen((0, 0, 50, 50), 0.95, POINTS)]

    assert turned(marked(1), [], doubtful, 24, 0.97).seen == []
    upright = doubtful(None)
    assert turned(marked(1), upright, doubtful, 24, 0.97).seen is upright


def test_a_sure_turned_face_replaces_a_doubtful_upright_one():
    view = turned(marked(2), [Seen((0, 0, 50, 50), 0.95, POINTS)], find, 24, 0.97)
    assert view.quarters == 2 and [face.score for face in view.seen] == [0.99]
