"""`raysift decisions export`."""

import pyarrow.parquet as pq

from cluster.access.audit import Audit
from cluster.access.identity import Identity
from cluster.decisions.api_types import NewDecision
from cluster.decisions.entries import MediaFile
from cluster.decisions.store import DecisionStore
from cluster.people.face import face_id
from cluster.people.store import FaceStore
from cluster.records import asset_id
from pipelines.results import decided
from tests.commands.erasure.commands import run, words

ANN = Identity("Ann", "reviewer", id="a" * 12)


def test_all_decisions_are_exported_with_their_history(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(decided, "PART", 2)
    store = DecisionStore(tmp_path / "state" / "decisions.sqlite")
    for n in range(3):
        uri = f"s3://b/{n}.jpg"
        file = MediaFile(asset_id(uri), uri, None, {"nsfw": "m1"})
        store.decide([(file, NewDecision(version=0, label="relevant", tags=("car",), note="x"))], ANN)
    store.undo(asset_id("s3://b/0.jpg"), 1, ANN)
    store.close()
    to = tmp_path / "all.parquet"
    done = run("decisions", "export", "--to", str(to))
    assert done.exit_code == 0, done.exception
    assert "4 decisions written" in words(done)
    rows = pq.read_table(to).to_pylist()
    assert [(row["uri"][-5:], row["version"]) for row in rows] == [
        ("0.jpg", 2),
        ("2.jpg", 1),
        ("1.jpg", 1),
        ("0.jpg", 1),
    ]
    assert rows[1]["models"] == [("nsfw", "m1")] and rows[1]["tags"] == ["car"] and rows[0]["label"] is None
    assert [record["what"] for record in Audit(tmp_path / "state").records()] == ["decisions exported"]


def test_decisions_on_faces_are_exported_with_the_ids_of_the_faces(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    store = FaceStore(tmp_path / "state" / "faces.sqlite")
    id = face_id(asset_id("s3://b/0.jpg"), 2.5, (0.1, 0.2, 0.3, 0.4))
    store.correct(
        [(MediaFile(id, "s3://b/0.jpg", None, {"face": "m1"}), NewDecision(version=0, label="Bea", note="named"))], ANN
    )
    store.close()
    to = tmp_path / "faces.parquet"
    assert run("decisions", "export", "--faces", "--to", str(to)).exit_code == 0
    (row,) = pq.read_table(to).to_pylist()
    assert (row["asset"], row["label"], row["note"], row["who"]) == (id, "Bea", "named", "Ann")


def test_without_decisions_or_a_place_the_command_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    refused = run("decisions", "export", "--to", "x.parquet")
    assert "does not exist: nothing was decided yet" in str(refused.exception)
    DecisionStore(tmp_path / "state" / "decisions.sqlite").close()
    refused = run("decisions", "export", "--to", str(tmp_path / "nowhere" / "x.parquet"))
    assert "cannot be written" in str(refused.exception)
