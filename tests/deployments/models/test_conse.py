"""The network that clip and restraint share. Its answers about pictures are judged in test_clip."""

import numpy as np
import pytest

from deployments.detectors.clip import Clip, ClipConfig
from deployments.models import runtime
from deployments.models.conse import MODEL, Conse, Pictured
from deployments.models.frame_cache import FrameCache


def heavy(test):
    """Mark a test that loads the weights."""
    return pytest.mark.ray(pytest.mark.timeout(300)(test))


def conse():
    """The network that every clip in this process has."""
    return runtime.shared(f"conse {MODEL}", lambda: Conse(MODEL))


def pictures(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 30, 40, 3), dtype=np.uint8))


class Counting(Conse):
    """A Conse without a network: records the sizes of its batches."""

    def __init__(self):
        self._last = FrameCache(self.cached_frames, self._compute)
        self.batches = []

    def _pictured(self, pictures):
        self.batches.append(len(pictures))
        return [Pictured(*(np.float32([pixels.mean()]) for _ in range(3))) for pixels in pictures]


@heavy
def test_a_picture_has_probabilities_a_text_vector_and_an_image_vector():
    (one,) = conse().pictures(pictures(1))
    assert (one.chances.shape, one.text.shape, one.image.shape) == ((1000,), (384,), (1280,))
    assert one.chances.dtype == np.float32 and one.chances.sum() == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(one.text) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(one.image) == pytest.approx(1, abs=1e-4)
    assert len(conse().names) == 1000 and conse().names[282] == "tiger cat"


@heavy
def test_text_vectors_are_unit_rows_and_no_texts_give_no_rows():
    assert conse().texts([]).shape == (0, 384)
    assert np.allclose(np.linalg.norm(conse().texts(["a rope", "", "x " * 1000]), axis=1), 1, atol=1e-4)


def test_a_frame_is_computed_once_for_all_callers():
    found = Counting()
    first = found.pictures(pictures(10, seed=1))
    copies = [picture.copy() for picture in pictures(10, seed=1)]
    assert [one is other for one, other in zip(found.pictures(copies[::-1]), first[::-1], strict=True)] == [True] * 10
    assert found.batches == [8, 2]


def test_pictures_of_the_same_bytes_in_another_shape_are_distinct():
    found = Counting()
    (wide,) = pictures(1, seed=2)
    found.pictures([wide, wide.reshape(40, 30, 3), wide])
    assert found.batches == [2]


def test_the_least_recently_used_is_evicted_and_a_batch_may_exceed_the_cache():
    found = Counting()
    shades = [np.full((4, 4, 3), shade, np.uint8) for shade in range(found.cached_frames + 6)]
    assert [picture.text[0] for picture in found.pictures(shades)] == list(range(found.cached_frames + 6))
    found.batches.clear()
    found.pictures([shades[6], shades[-1]])
    assert found.batches == []
    found.pictures([shades[5], shades[6]])  # the seventh shade was used since, the eighth was not
    assert found.batches == [1]
    found.pictures([shades[7]])
    assert found.batches == [1, 1]


@heavy
def test_colocated_detectors_have_the_same_network():
    assert ClipConfig().colocate == "concepts" and ClipConfig(backend="gpu").colocate == ""
    assert Clip(ClipConfig()).infer._conse is Clip(ClipConfig()).infer._conse is conse()
