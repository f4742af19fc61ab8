"""Exemplars: pictures of a gallery to which other pictures are compared, while the gallery changes."""

import numpy as np
import pytest
from PIL import Image

from deployments.galleries.references import Exemplars, Match
from deployments.galleries.store import Gallery


def saved(folder, side):
    path = folder / f"{side}.png"
    Image.new("RGB", (side, side), (side, 0, 0)).save(path)
    return path


def test_a_changed_gallery_is_noticed_after_a_few_seconds(tmp_path):
    gallery, clock, computed = Gallery(str(tmp_path / "restraints")), [0.0], []

    def embed(pictures):
        computed.extend(picture.shape for picture in pictures)
        return np.array([[1.0, 0.0]] * len(pictures))

    exemplars = Exemplars(gallery, embed, now=lambda: clock[0])
    here = np.array([[0.6, 0.8]])
    assert exemplars.matches(here) == [[]]
    (first,) = gallery.add("cell", saved(tmp_path, 20))
    assert exemplars.matches(here) == [[]]
    clock[0] = 5.0
    assert exemplars.matches(here) == [[Match("cell", first.file, pytest.approx(0.6))]]
    gallery.add("cell", saved(tmp_path, 30))
    clock[0] = 10.0
    exemplars.matches(here)
    assert computed == [(20, 20, 3), (30, 30, 3)]
    gallery.remove("cell")
    clock[0] = 15.0
    assert exemplars.matches(here) == [[]]


def test_a_file_that_is_no_picture_is_left_out(tmp_path, caplog):
    (tmp_path / "restraints" / "cell").mkdir(parents=True)
    (tmp_path / "restraints" / "cell" / "a.png").write_bytes(b"no picture")
    found = Exemplars(Gallery(str(tmp_path / "restraints")), lambda pictures: pytest.fail("computed"))
    assert found.matches(np.eye(2)) == [[], []]
    assert "a.png" in caplog.text
