"""`raysift evaluate` on a running cluster, and on its stored results."""

import json
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.judging import labels

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500)]

NOTICE = {"text": "NOTICE Keep this gate closed at all times Deliveries: ring twice"}
SPOKEN = {"speech": "The police officer put the suspect in handcuffs near the main gate."}


def test_evaluates_the_running_cluster_on_exactly_the_labelled_files(cluster: Cluster, media: Path, tmp_path: Path):
    names = ("notice.png", "broken.jpg")
    path = labels(tmp_path, *({"uri": str(media / name), "labels": {"ocr": NOTICE}} for name in names))
    out = tmp_path / "out"
    done = cluster.raysift("evaluate", str(path), "--out", str(out), "--base-rate", "0.001", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    (ocr,) = printed["judged"]
    assert ocr["error_rate"]["value"] < 0.1 and ocr["profiles"] == ["embedded"] and ocr["presence"]["tp"] == 1
    assert [(left["detector"], len(left["uris"])) for left in printed["left_out"]] == [("ocr", 1)]
    assert Path(printed["report"]).parent == out and "notice.png" in Path(printed["report"]).read_text()
    assert set(cluster.export(str(out))) == set(names)


def test_evaluates_stored_results(cluster: Cluster, media: Path, scanned, tmp_path: Path):
    said_of = {
        "notice.png": {"ocr": NOTICE, "face": {"face": 0}, "nsfw": {"nsfw": False}},
        "astronaut.png": {"face": {"face": ["Collins"]}, "nsfw": {"nsfw": False}},
        "admiral.jpg": {"face": {"face": ["Hopper"]}},
        "news.mp4": {"face": {"face": ["Collins"]}, "whisper": SPOKEN},
        "recording.ogg": {"whisper": SPOKEN},
    }
    path = labels(tmp_path, *({"uri": str(media / name), "labels": of} for name, of in said_of.items()))
    report = tmp_path / "report.html"
    done = cluster.raysift("evaluate", str(path), "--from", scanned[0], "--report", str(report), "--json")
    assert done.returncode == 0, done.stderr
    of = {one["detector"]: one for one in json.loads(done.stdout.splitlines()[-1])["judged"]}
    assert of["ocr"]["error_rate"]["value"] < 0.1 and of["whisper"]["error_rate"]["value"] < 0.2
    assert of["face"]["counts"]["exact"]["hits"] == of["face"]["counts"]["exact"]["of"] == 3
    assert (of["face"]["verification"]["same"], of["face"]["verification"]["different"]) == (1, 2)
    assert of["face"]["verification"]["in_use"]["accuracy"]["value"] == 1
    assert of["nsfw"]["presence"]["negatives"] == 2
    assert report.stat().st_size > 10_000
