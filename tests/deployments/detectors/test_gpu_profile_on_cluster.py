"""The gpu profile, offline and on this machine's CPU: real OCR, names and transcripts with packaged weights.

Where no package contains the weights (explicit content, open vocabulary, SigLIP), tiny random ones of the same
architecture run the same code; only the shape of their answers is checked.
"""

import json
from collections.abc import Iterator

import pytest

from deployments.detector import detector_class, names
from tests.deployments.detectors.test_contract import tried
from tests.support.cluster import Cluster, environment
from tests.support.paths import SHARED

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    large = {name: tried(name, "gpu") for name in names() if "gpu" in detector_class(name).backends}
    own = {name: config.model_dump(mode="json", include=config.model_fields_set) for name, config in large.items()}
    state = tmp_path_factory.mktemp("gpu") / "state"
    up = Cluster(environment(state, RAYSIFT_DETECTORS=json.dumps(own)))
    started = up.raysift("up", "--profile", "gpu", "--offline")
    assert started.returncode == 0, started.stderr
    yield up
    up.raysift("down")


def test_missing_weights_are_reported_before_anything_starts(tmp_path):
    bare = Cluster(environment(tmp_path / "state"))
    refused = bare.raysift("up", "--profile", "gpu", "--offline")
    told = " ".join(refused.stderr.split())
    assert refused.returncode == 1 and "Traceback" not in told
    for name in ("nsfw", "clip", "whisper"):
        assert f"{name}: model" in told
    assert not (tmp_path / "state" / "ray.log").exists()


@pytest.mark.chaos
def test_the_gpu_profile_finds_the_same_in_the_demos_files_as_the_embedded_one(gpu, cluster, scanned, media, tmp_path):
    out = str(tmp_path / "out")
    done = gpu.raysift("scan", str(media), "--out", out, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["done"] == scanned[1]["done"], done.stderr
    large, small = gpu.export(out), cluster.export(scanned[0])
    assert large.keys() == small.keys()
    for name, line in large.items():
        assert line.keys() == small[name].keys()
        assert line["errors"] == small[name]["errors"]
    for detector in ("ocr", "face", "whisper"):
        assert shapes(large, detector) == shapes(small, detector)
    assert "gate closed at all times" in words(large["notice.png"], "ocr")
    assert "handcuffs" in words(large["recording.ogg"], "whisper")


def shapes(lines, detector):
    """The fields that the detections of a detector fill, over all files."""
    found = (one for line in lines.values() for one in line["detections"] if one["detector"] == detector)
    return {(one["label"], *(key for key, value in one.items() if value is not None)) for one in found}


def words(line, detector):
    return " ".join(found["text"] for found in line["detections"] if found["detector"] == detector)


@pytest.mark.chaos
@pytest.mark.skipif(not SHARED.exists(), reason="the labelled media lie beside the repository, not in it")
def test_it_reads_names_and_transcribes_labelled_media(gpu, tmp_path):
    media = SHARED / "media"
    enrolled = gpu.raysift("people", "add", "Barack Obama", str(media / "faces" / "obama_1.jpg"))
    assert enrolled.returncode == 0, enrolled.stderr
    files = ["faces/pair_obama_biden.jpg", "text/easyocr_english.png", "speech/jfk.flac"]
    out = str(tmp_path / "out")
    done = gpu.raysift("scan", *(str(media / file) for file in files), "--out", out, "--detectors", "ocr,face,whisper")
    assert done.returncode == 0, done.stderr
    lines = gpu.export(out)
    # OCR runs at 320 px here, for speed: large lines are read
    assert "Reduce your risk of coronavirus infection" in words(lines["easyocr_english.png"], "ocr")
    assert "ask not what your country can do for you" in words(lines["jfk.flac"], "whisper")
    labels = sorted(
        found["label"] for found in lines["pair_obama_biden.jpg"]["detections"] if found["detector"] == "face"
    )
    assert labels == ["Barack Obama", "face", "face"]


@pytest.mark.chaos
def test_the_api_names_the_model_that_answers(gpu):
    with gpu.api() as api:
        told = {one["name"]: one["model"] for one in api.get("/v1/detectors").json()}
    assert set(told) == set(names())
    assert "easyocr" in told["ocr"]
