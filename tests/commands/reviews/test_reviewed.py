"""`raysift evaluate --decisions` on stored results."""

import json

import pytest

from cluster.access.identity import Identity
from cluster.decisions.api_types import NewDecision
from cluster.decisions.entries import MediaFile
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.records import asset_id
from tests.commands.erasure.commands import run, words
from tests.support.stored import commit, found, row

ANN, BOB = Identity("Ann", "reviewer", id="a" * 12), Identity("Bob", "reviewer", id="b" * 12)
FILES = 24


@pytest.fixture
def reviewed(tmp_path, monkeypatch):
    """Results of files with rising scores, of which Ann has confirmed the upper half, and Bob decided a few again."""
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    store = DecisionStore(tmp_path / "state" / "decisions.sqlite")
    rows = []
    for n in range(FILES):
        uri = f"s3://b/{n}.jpg"
        rows.append(row(uri, found("nsfw", "nude", n / FILES), unit=n))
        file = MediaFile(asset_id(uri), uri, None, {})
        label = "relevant" if n >= FILES // 2 else "not relevant"
        store.decide([(file, NewDecision(version=0, label=label))], ANN)
        if n < 4:
            store.decide([(file, NewDecision(version=1, label="unsure"))], BOB)
    store.close()
    commit(tmp_path / "out", "a.parquet", *rows)
    return str(tmp_path / "out")


def test_decisions_give_precision_a_threshold_and_the_reviewers_agreement(reviewed):
    done = run("evaluate", "--decisions", "--from", reviewed, "--json")
    assert done.exit_code == 0, done.exception
    printed = json.loads(done.stdout.splitlines()[-1])
    (nude,) = printed["judged"]
    assert (nude["precision"]["hits"], nude["precision"]["of"]) == (12, 20)  # 4 are unsure
    assert nude["threshold"] is not None
    (pair,) = printed["agreements"]
    assert (pair["same"]["hits"], pair["same"]["of"]) == (0, 4)
    assert "Cohen's kappa" in words(done) and "12 of 20" in words(done)


def test_a_threshold_limits_what_counts_as_found(reviewed):
    printed = json.loads(
        run("evaluate", "--decisions", "--from", reviewed, "--threshold", "nsfw=0.5", "--json").stdout.splitlines()[-1]
    )
    assert printed["judged"][0]["precision"]["value"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--decisions"], "goes with --from"),
        (["labels.jsonl", "--decisions", "--from", "x"], "without a file of labels"),
        ([], "name a file of labels, or --decisions"),
        (["--decisions", "--from", "elsewhere"], "holds none of the 20 files"),
    ],
)
def test_wrong_arguments_are_explained(reviewed, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=complaint):
        raise run("evaluate", *arguments).exception
