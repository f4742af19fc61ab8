"""The contract of every detector and each of its backends.

A detector's own test file has a stand-in for its backend, stand_in(samples). For a backend whose weights no package
contains, it also has TRIED, {backend: a function of a folder that returns a Config}: the smallest real weights.
"""

import functools
import importlib
import importlib.util
import pickle
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from cluster.records import SOUND_RATE_HZ, Sample
from deployments.detector import DetectorConfig, detector_class, names
from tests.support.paths import SHARED

MEDIA = SHARED / "media"  # labelled, not part of the repository
on_media = [
    pytest.mark.accuracy,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not MEDIA.is_dir(), reason="the labelled media are not here"),
]

each = pytest.mark.parametrize("name", names())
# by class, so that a test of one backend need not load the others
every = [(name, backend) for name in names() for backend in sorted(detector_class(name).backends)]
LENGTHS = {"image": 1280, "text": 384, "faces": 128}


def standing_in(name):
    found = detector_class(name)
    return found(found.Config(), infer=importlib.import_module(f"{__package__}.test_{name}").stand_in)


@functools.cache
def tried(name, backend):
    """The config with which that backend runs here: the default, or that with the smallest real weights."""
    own = importlib.util.find_spec(f"{__package__}.test_{name}") and importlib.import_module(
        f"{__package__}.test_{name}"
    )
    made = getattr(own, "TRIED", {}).get(backend)
    if made is None:
        return detector_class(name).Config(backend=backend)
    return made(Path(tempfile.mkdtemp(prefix="raysift-weights-")))


@functools.cache
def real(name, backend="embedded"):
    """The detector with weights, loaded once for all tests."""
    return detector_class(name)(tried(name, backend))


slow = [pytest.mark.ray, pytest.mark.timeout(300)]
made_with = pytest.mark.parametrize(
    ("name", "backend"),
    [pytest.param(name, None, id=f"{name}-stand-in") for name in names()]
    + [pytest.param(name, backend, id=f"{name}-{backend}", marks=slow) for name, backend in every],
)


def made(name, backend):
    """The detector with that backend; None is its stand-in."""
    return real(name, backend) if backend else standing_in(name)


@functools.cache
def first_answers(name, backend):
    """What it finds in samples_for(name), computed once for all tests: with real weights it takes seconds."""
    return made(name, backend).detect(samples_for(name))


@functools.cache
def example_answer(name, backend):
    """What it finds in its example alone."""
    (found,) = made(name, backend).detect([detector_class(name).example()])
    return found


def picture(path):
    """A file of the labelled media as the pipeline would pass it: at most 1600 px."""
    with Image.open(MEDIA / path) as image:
        image.thumbnail((1600, 1600))
        return Sample(pixels=read_only(np.array(image.convert("RGB"))))


def read_only(array):
    """An array as Ray passes it: read-only."""
    array.flags.writeable = False
    return array


def samples_for(name):
    """Samples of every modality of the detector, unusual ones too; its example first."""
    rng = np.random.default_rng(0)
    found = detector_class(name)
    samples = [found.example()]
    if "image" in found.modalities:
        sizes = [(1, 1), (20, 3000), (3000, 20), (360, 640), (1, 400), (23, 24)]
        pictures = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]
        pictures += [np.zeros((64, 64, 3), np.uint8), np.full((300, 200, 3), 255, np.uint8)]
        samples += [Sample(pixels=read_only(pixels), time_s=2.5) for pixels in pictures]
    if "sound" in found.modalities:
        sounds = [rng.normal(0, 0.1, n).clip(-1, 1) for n in (0, 1, 100, SOUND_RATE_HZ)] + [np.zeros(SOUND_RATE_HZ)]
        samples += [Sample(sound=read_only(sound.astype(np.float32)), time_s=2.5) for sound in sounds]
    if "text" in found.modalities:
        samples += [Sample(text=text) for text in ("a dog", "", "日本 🎈", "word " * 2000)]
    return samples


@each
def test_the_config_has_a_model_refuses_unknown_keys_and_can_be_pickled(name):
    found = detector_class(name)
    config = found.Config()
    assert isinstance(config, DetectorConfig) and config.model
    assert config.backend in found.backends
    assert set(found.Config.defaults) <= set(found.backends)
    assert 0 < config.cpus <= 0.3, "fractions, so that all detectors fit on a small machine"
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(ValidationError, match="treshold"):
        found.Config(treshold=0.5)
    for floor in (-0.1, 1.1):
        with pytest.raises(ValidationError, match="floor"):
            found.Config(floor=floor)


@each
def test_the_example_is_a_sample_of_its_modalities(name):
    found = detector_class(name)
    assert found.example().modality in found.modalities


@made_with
def test_finds_something_on_its_example(name, backend):
    assert example_answer(name, backend)


@made_with
def test_an_empty_batch_gives_an_empty_list(name, backend):
    assert made(name, backend).detect([]) == []


@made_with
def test_every_unusual_sample_has_one_answer_within_bounds(name, backend):
    samples, answers = samples_for(name), first_answers(name, backend)
    assert len(answers) == len(samples)
    for sample, found in zip(samples, answers, strict=True):
        for detection in found:
            check(detection, sample)


@made_with
def test_the_example_has_the_same_answer_each_time(name, backend):
    detector = made(name, backend)
    assert detector.detect([detector.example()]) == [example_answer(name, backend)]


def check(detection, sample):
    assert detection.label and 0 <= detection.score <= 1
    assert type(detection.score) is float
    assert detection.time_s is None, "the pipeline sets it, by Detection.at"
    if detection.box is not None:
        left, top, right, bottom = detection.box
        assert 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1
    if detection.span is not None:
        start_s, end_s = detection.span
        assert 0 <= start_s <= end_s <= len(sample.sound) / SOUND_RATE_HZ + 0.1
    for vector in detection.vectors:
        assert np.isfinite(vector.values).all()
        assert all(type(value) is float for value in vector.values)


@made_with
def test_answers_are_in_the_order_of_the_samples(name, backend):
    forth = [[seen(detection) for detection in found] for found in first_answers(name, backend)]
    reversed_samples = samples_for(name)[::-1]
    back = [[seen(detection) for detection in found] for found in made(name, backend).detect(reversed_samples)]
    assert back[::-1] == forth


def seen(detection):
    """The answer without the last digits, which depend on the other samples of a batch."""
    return detection.label, round(detection.score, 3), detection.text


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "backend"), every)
def test_loads_and_answers_without_a_network(name, backend, monkeypatch):
    wanted = []
    for api in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, api, lambda self, address: wanted.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: wanted.append(address) or [])
    found = detector_class(name)
    detector = found(tried(name, backend))
    assert detector.detect([found.example()])[0]
    assert wanted == []


@pytest.mark.ray
@pytest.mark.timeout(300)
@each
def test_every_backend_gives_vectors_of_one_length_in_each_space(name):
    for backend in detector_class(name).backends:
        lengths = {
            (vector.space, len(vector.values))
            for found in first_answers(name, backend)
            for detection in found
            for vector in detection.vectors
        }
        assert len(lengths) == len({space for space, _ in lengths})
        if backend == "embedded":
            assert lengths <= set(LENGTHS.items())
