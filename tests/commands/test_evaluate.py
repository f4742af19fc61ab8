"""`raysift evaluate` on stored results."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from cluster.results.measured import known
from cluster.settings import load
from pipelines.evaluation import labelling
from tests.support.judging import jpeg, labels, said
from tests.support.stored import commit, found, row


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_API__PORT", "9")  # nothing listens there


def run(*arguments: str):
    return CliRunner().invoke(raysift.cli, ["evaluate", *arguments])


def test_evaluates_stored_results_without_a_cluster(alone, tmp_path):
    explicit = found("nsfw", "nsfw", 0.9)
    rows = row("s3://b/a.jpg", explicit), row("s3://b/[red].jpg", explicit, thumbnail=jpeg(), unit=1)
    commit(tmp_path / "out", "a.parquet", *rows)
    path = labels(tmp_path, said("a.jpg", nsfw={"nsfw": True}), said("[red].jpg", nsfw={"nsfw": False}))
    done = run(str(path), "--from", str(tmp_path / "out"), "--base-rate", "0.01", "--threshold", "0.5", "--json")
    assert done.exit_code == 0, done.exception
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["judged"][0]["presence"]["recall"]["value"] == 1.0 and printed["thresholds"] == {"nsfw": 0.5}
    assert Path(printed["report"]).parent == tmp_path / "out"
    assert "[red].jpg" in Path(printed["report"]).read_text()
    assert "precision" in done.stderr and "0.21-1.00" in done.stderr
    (kept,) = known(load().state_dir, {("nsfw", "m1")})  # for reports of cases
    shares = {one.name: (one.value, one.of) for one in kept.measures}
    assert shares == {"precision": (0.5, 2), "recall": (1.0, 1), "false alarms": (1.0, 1)}
    assert (kept.label, kept.threshold, kept.labels) == ("nsfw", 0.5, "labels.jsonl")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--from", "elsewhere"], "holds none of the files"),
        (["--from", "out", "--out", "out"], "Give one of them"),
        (["--from", "out", "--base-rate", "1"], "--base-rate is a share"),
        (["--from", "out", "--threshold", "nsfww=0.5"], "no detector 'nsfww'"),
        (["--from", "out", "--threshold", "nsfw=nan"], "write a number from 0 to 1"),
        ([], "gone.jpg does not exist"),
    ],
)
def test_a_wrong_argument_is_explained(alone, tmp_path, more, complaint):
    path = labels(tmp_path, {"uri": "gone.jpg", "labels": {"nsfw": {"nsfw": True}}})
    with pytest.raises(SettingsError, match=complaint):
        raise run(str(path), *more).exception


def test_a_threshold_of_one_detector_overrides_that_of_all():
    from commands.evaluate import _thresholds

    of = _thresholds(["nsfw=0.9", "0.5"])
    assert of["nsfw"] == 0.9 and of["ocr"] == 0.5


def test_many_files_are_scanned_in_one_job(alone, tmp_path, monkeypatch):
    from commands import evaluate

    sent = []

    def api(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
        over = {"job": "scan-1", "state": "finished", "units": 1, "done": 1, "failed": 0, "seconds": 1.0}
        return httpx.Response(200, json=over)

    plain_client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: plain_client(**more, transport=httpx.MockTransport(api)))
    many = [labelling.Labelled(f"s3://bucket/{n:0100}.jpg", n, {"ocr": {"text": ""}}) for n in range(1200)]
    evaluate._scan(raysift.load(), many, "s3://found/x")
    (job,) = sent
    assert job["uris"] == [file.uri for file in many] and job["detectors"] == ["ocr"]


def test_detectors_of_text_are_run_with_all_others():
    from commands.evaluate import _detectors

    assert _detectors([labelling.Labelled("a", 1, {"nsfw": {}, "face": {}})]) == ["face", "nsfw"]
    assert _detectors([labelling.Labelled("a", 1, {"nsfw": {}, "clip": {}})]) is None
