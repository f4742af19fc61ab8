"""A new detector is one file: all else derives from it, as tested in a copy of the repository."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from deployments.detector import names
from tests.support.cluster import Cluster, environment
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

BRIGHT = '''"""How bright a picture is."""

from typing import Any, ClassVar

import numpy as np

from cluster.records import Detection, Sample
from deployments.detector import Detector, DetectorConfig


class BrightConfig(DetectorConfig):
    model: str = "mean"
    gain: float = 1.0


def mean(config: BrightConfig) -> Any:
    return lambda samples: [min(1.0, config.gain * float(sample.pixels.mean()) / 255) for sample in samples]


class Bright(Detector):
    Config = BrightConfig
    modalities = frozenset({"image"})
    backends: ClassVar[Any] = {"embedded": mean}

    def detect(self, samples: list[Sample]) -> list[list[Detection]]:
        return [[Detection("bright", score)] if score > self.config.floor else [] for score in self.infer(samples)]

    @classmethod
    def example(cls) -> Sample:
        return Sample(pixels=np.full((8, 8, 3), 200, np.uint8))
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("copy") / "raysift"
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".*", "*.egg-info", "__pycache__"))
    (to / "deployments" / "detectors" / "bright.py").write_text(BRIGHT)
    return to


def test_its_contract_tests_appear_and_pass(copy):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/deployments/detectors/test_contract.py",
        "-m",
        "ray",
        "-k",
        "bright",
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout), done.stdout


@pytest.mark.chaos  # it starts a cluster
def test_its_deployment_route_settings_key_and_name_on_the_command_line_appear(copy, tmp_path):
    off = {f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names()}
    toy = Cluster(
        environment(tmp_path / "state", RAYSIFT_DETECTORS__bright__GAIN="0.5", **off),
        cwd=copy,
        command=(sys.executable, "-m", "raysift"),
    )
    Image.new("RGB", (40, 30), "white").save(tmp_path / "white.png")
    try:
        started = toy.raysift("up")
        assert started.returncode == 0, started.stderr
        with toy.api() as api:
            assert [one["name"] for one in api.get("/v1/detectors").json()] == ["bright"]
            file = (tmp_path / "white.png").read_bytes()
            (found,) = api.post("/v1/detect/bright", files={"file": file}).json()["detections"]
            assert (found["label"], found["score"]) == ("bright", 0.5)
        scanned = toy.raysift(
            "scan", str(tmp_path / "white.png"), "--out", str(tmp_path / "out"), "--detectors", "bright", "--json"
        )
        assert scanned.returncode == 0, scanned.stderr
        assert json.loads(scanned.stdout.splitlines()[-1])["done"] == 1
        assert toy.export(str(tmp_path / "out"))["white.png"]["detections"][0]["model"] == "mean"
    finally:
        toy.raysift("down")
