"""`raysift doctor --deep`: the examples of detectors as files, and what is said of the answers of a stand-in API."""

import httpx
import numpy as np
import pytest

from cluster.access.rules import PURPOSE_HEADER
from cluster.settings import Decoding, Settings
from commands.checks.deep import deep, example_file
from deployments.detector import detector_class, names
from pipelines.media import decoding
from tests.commands.checks.stand_ins import GONE, client


def checks(answers, *there):
    """The checks by what is checked, with the API of these detectors."""
    listed = {"/v1/detectors": [{"name": name} for name in there]}
    return {check.what: check for check in deep(Settings(), client(listed | answers), lambda text: None)}


def found(*labels, detector="ocr"):
    return {"detections": [{"detector": detector, "label": label} for label in labels]}


@pytest.mark.parametrize("name", names())
def test_the_file_of_an_example_decodes_to_the_example(name, tmp_path):
    sample = detector_class(name).example()
    file, content = example_file(sample)
    path = tmp_path / file
    path.write_bytes(content)
    kind = decoding.sniff(path)
    if sample.pixels is not None:
        (frame,) = decoding.frames(path, kind, Decoding())
        assert np.array_equal(frame.sample.pixels, sample.pixels)
    elif sample.sound is not None:
        heard = np.concatenate([piece.sound for piece in decoding.sound(path, Decoding())])
        assert heard.shape == sample.sound.shape and np.abs(heard - sample.sound).max() < 1e-3
    else:
        assert sample.text in [text.text.strip() for text in decoding.texts(path, kind, Decoding())]


def test_each_detector_says_what_it_found_and_how_long_it_took():
    texts = found("text", "text", "unreadable") | {"detector": "ocr"}
    said = checks({"/v1/detect/ocr": texts, "/v1/detect/nsfw": found("explicit", detector="nsfw")}, "ocr", "nsfw")
    assert {check.state for check in said.values()} == {"ok"} and list(said) == ["example ocr", "example nsfw"]
    assert said["example ocr"].said.startswith("found text (2), unreadable in ")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (found(), "it finds nothing in its own example: its model is not what it should be"),
        (found("text", detector="file-text"), "it finds nothing in its own example"),
        ((422, {"detail": "the detector failed on it: CUDA error"}), "422: the detector failed on it: CUDA error"),
        ((502, "<html>"), "the API answers 502"),
        (httpx.ReadTimeout("late"), "no answer in 0 s (ReadTimeout)"),
    ],
)
def test_a_detector_that_finds_nothing_or_does_not_answer_fails_with_the_reason(answer, words):
    (check,) = checks({"/v1/detect/ocr": answer}, "ocr").values()
    assert check.state == "fails" and words in check.said


@pytest.mark.parametrize(
    ("answer", "words"),
    [(GONE, "Start it: `raysift up`"), ((401, {"detail": "this key was revoked"}), "401: this key")],
)
def test_without_an_api_or_a_key_there_is_one_failure(answer, words):
    (check,) = checks({"/v1/detectors": answer}).values()
    assert (check.what, check.state) == ("examples", "fails") and words in check.said


def test_a_detector_of_another_version_is_noted():
    assert checks({}, "smell")["example smell"].state == "note"


def test_the_uploads_have_a_purpose_since_some_settings_demand_one():
    asked = []

    def answer(request):
        asked.append(request.headers[PURPOSE_HEADER])
        return found("face", detector="face")

    checks({"/v1/detect/face": answer}, "face")
    assert asked == ["raysift doctor --deep"]
