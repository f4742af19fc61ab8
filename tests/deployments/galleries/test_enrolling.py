"""Which photos can enrol a person: by stand-ins, and by the embedded networks on changed copies of a portrait."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cluster.errors import SettingsError
from cluster.records import Sample
from deployments.detectors.face import Face
from deployments.galleries import enrolling
from deployments.galleries.enrolling import Seen
from tests.deployments.detectors.test_contract import real

GOOD, POOR = Seen("face", 0.99, None), Seen("face", 0.95, "no vector: blurred (sharpness 9, 25 needed)")


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([], "no face was found"),
        ([POOR], "blurred"),
        ([GOOD, GOOD], "2 faces were found"),
        ([GOOD], None),
        ([GOOD, POOR], None),
        ([GOOD, Seen("Bob", 0.6, "distance 0.40 to photo b.png")], None),
    ],
)
def test_exactly_one_good_face_can_enrol(seen: list[Seen], reason: str | None):
    flaw = enrolling.flaw(seen)
    assert (flaw is None) if reason is None else (reason in str(flaw))


def test_others_are_those_who_are_enrolled_under_another_name():
    seen = [GOOD, Seen("Bob", 0.6, None), Seen("Ann", 0.6, None)]
    assert enrolling.others(seen, "Ann") == {"Bob"}


def test_the_label_of_every_face_is_no_name():
    with pytest.raises(SettingsError, match="label of every face"):
        enrolling.check_name("Face")


def portrait() -> Image.Image:
    return Image.fromarray(np.asarray(Face.example().pixels))


def twice(picture: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * picture.width, picture.height))
    both.paste(picture, (0, 0))
    both.paste(picture, (picture.width, 0))
    return both


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda picture: picture, None),
        (lambda picture: picture.resize((140, 140)), "too small"),
        (lambda picture: picture.filter(ImageFilter.GaussianBlur(5)), "blurred"),
        (twice, "2 faces were found"),
        (lambda picture: picture.crop((0, 260, 120, 512)), "no face was found"),
    ],
    ids=["as it is", "shrunk", "blurred", "twice", "without the face"],
)
def test_real_pictures_are_refused_for_what_is_wrong_with_them(change, reason: str | None):
    sample = Sample(pixels=np.asarray(change(portrait())))
    (detections,) = real("face").detect([sample])
    flaw = enrolling.flaw([Seen(found.label, found.score, found.evidence) for found in detections])
    assert (flaw is None) if reason is None else (reason in str(flaw)), flaw
