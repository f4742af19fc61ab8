"""The network that clip and restraint share. Its answers about pictures are judged in test_clip."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from deployments.detectors.clip import Clip, ClipConfig
from deployments.models import runtime
from deployments.models.concepts.conse import MODEL, Conse, Pictured, class_vectors, imagenet_names
from deployments.models.concepts.sentences import FILES
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


@pytest.fixture
def language(tmp_path, monkeypatch):
    """A folder with the files of a network for texts; the folder of caches is an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder := tmp_path / "bert").mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    return folder


def encoding(noted):
    """An encoder that notes how many texts it is given, and gives each text its length."""

    def encode(texts):
        noted.append(len(texts))
        return np.float32([[len(text)] for text in texts])

    return encode


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "raysift" / "conse").iterdir())


def test_vectors_of_classes_are_computed_once_on_a_machine(language, tmp_path):
    noted = []
    first = class_vectors(language, ["a cat", "a tiger"], encoding(noted))
    assert np.array_equal(class_vectors(language, ["a cat", "a tiger"], encoding(noted)), first)
    assert noted == [2] and first.ravel().tolist() == [5, 7] and len(kept(tmp_path)) == 1


def test_vectors_of_classes_are_computed_again_for_other_names_or_other_weights(language):
    noted = []
    class_vectors(language, ["a cat"], encoding(noted))
    class_vectors(language, ["a cat", "a dog"], encoding(noted))
    weights = language / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    class_vectors(language, ["a cat"], encoding(noted))
    assert noted == [1, 2, 1]


def test_a_broken_file_of_vectors_is_replaced(language, tmp_path):
    noted = []
    class_vectors(language, ["a cat"], encoding(noted))
    (file,) = kept(tmp_path)
    for content in (b"", file.read_bytes()[:-2]):
        file.write_bytes(content)
        assert class_vectors(language, ["a cat"], encoding(noted)).tolist() == [[5]]
    class_vectors(language, ["a cat"], encoding(noted))
    assert noted == [1, 1, 1] and kept(tmp_path) == [file]


def test_vectors_that_cannot_be_kept_are_used_all_the_same(language, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with caplog.at_level(logging.WARNING):
        assert class_vectors(language, ["a cat"], encoding([])).tolist() == [[5]]
    assert "No space left on device" in caplog.text


@heavy
def test_the_names_of_classes_are_those_of_torchvision():
    from torchvision.models import MobileNet_V2_Weights

    assert imagenet_names() == MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]


@heavy
def test_loads_neither_transformers_nor_torchvision():
    # they and torch's compiler, which torchvision imports, would take longer than all else
    code = (
        "import sys; from deployments.models.concepts.conse import MODEL, Conse; Conse(MODEL).texts(['a rope']);"
        "sys.exit(bool({'transformers', 'torchvision', 'torch._dynamo'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
