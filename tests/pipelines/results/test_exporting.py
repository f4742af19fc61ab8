import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.access.identity import Identity
from cluster.api_queries import ExportQuery
from cluster.decisions.api_types import NewDecision
from cluster.decisions.entries import MediaFile
from cluster.decisions.store import DecisionStore
from cluster.errors import SettingsError
from cluster.records import asset_id
from pipelines.results.exporting import export
from tests.support.stored import commit, found, row


@pytest.fixture
def folder(tmp_path):
    old = row("s3://b/b.jpg", found("ocr", "text", 0.1, text="old"), unit=1)
    new = row(
        "s3://b/b.jpg",
        found("nsfw", "nude", 0.98765432, box=(0.1, 0.2, 1 / 3, 0.4)),
        found("ocr", "text", 0.5, text='=HYPERLINK("http://evil","x")\nüber'),
        unit=2,
        minutes=1,
        width=3,
        height=2,
        thumbnail=b"jpeg",
    )
    sound = row("s3://b/a.wav", found("whisper", "speech", 1.0, span=(1 / 3, 2.0), text="hi"), kind="audio", unit=3)
    broken = row("s3://b/c.jpg", kind=None, failures=[("fetch", "gone"), ("ocr", "tired")], unit=4)
    commit(tmp_path, "a.parquet", old, broken)
    commit(tmp_path, "b.parquet", new, sound)
    return str(tmp_path)


def written(folder, format):
    to = io.BytesIO()
    assert export(folder, ExportQuery(format=format), to) == 3
    return to.getvalue()


def csv_rows(folder):
    rows = list(csv.DictReader(io.StringIO(written(folder, "csv").decode(), newline="")))
    return sorted(rows, key=lambda row: (row["uri"], row["detector"]))


def test_writes_one_json_line_per_file(folder):
    lines = sorted(map(json.loads, written(folder, "jsonl").splitlines()), key=lambda line: line["uri"])
    assert [line["uri"] for line in lines] == ["s3://b/a.wav", "s3://b/b.jpg", "s3://b/c.jpg"]
    assert lines[0]["detections"][0]["span"] == [0.333, 2.0]
    assert lines[1] == {
        "uri": "s3://b/b.jpg",
        "parent": None,
        "sha256": None,
        "kind": "image",
        "width": 3,
        "height": 2,
        "duration_s": None,
        "detections": [
            {
                "detector": "nsfw",
                "model": "m1",
                "label": "nude",
                "score": 0.9877,
                "box": [0.1, 0.2, 0.3333, 0.4],
                "time_s": None,
                "span": None,
                "text": None,
            },
            {
                "detector": "ocr",
                "model": "m1",
                "label": "text",
                "score": 0.5,
                "box": None,
                "time_s": None,
                "span": None,
                "text": '=HYPERLINK("http://evil","x")\nüber',
            },
        ],
        "errors": [],
        "decision": None,
    }
    assert lines[2]["errors"] == [{"step": "fetch", "reason": "gone"}, {"step": "ocr", "reason": "tired"}]


def test_a_film_is_one_line_with_the_detections_of_all_its_segments(tmp_path):
    for n in (1, 0):
        said = found("whisper", "speech", 1.0, span=(60.0 * n, 60.0 * n + 1), text=f"part {n}")
        commit(tmp_path, f"{n}.parquet", row("s3://b/film.mp4", said, kind="video", segment=(n, 2, 60.0), unit=n))
    to = io.BytesIO()
    assert export(str(tmp_path), ExportQuery(), to) == 1
    (line,) = map(json.loads, to.getvalue().splitlines())
    assert [one["text"] for one in line["detections"]] == ["part 0", "part 1"]


def test_writes_one_csv_row_per_detection_and_one_per_file_without(folder):
    rows = csv_rows(folder)
    assert [row["detector"] for row in rows] == ["whisper", "nsfw", "ocr", ""]
    assert [rows[1][side] for side in ("left", "top", "right", "bottom")] == ["0.1", "0.2", "0.3333", "0.4"]
    assert (rows[0]["start_s"], rows[0]["end_s"]) == ("0.333", "2.0")
    assert rows[3]["errors"] == "fetch: gone; ocr: tired"


def test_text_in_a_csv_is_not_a_formula(folder):
    rows = csv_rows(folder)
    assert rows[2]["text"] == '\'=HYPERLINK("http://evil","x")\nüber'


def test_writes_one_parquet_row_per_file(folder):
    table = pq.read_table(io.BytesIO(written(folder, "parquet")))
    lines = [json.loads(line) for line in written(folder, "jsonl").splitlines()]
    assert table.to_pylist() == lines


def test_a_folder_without_results_is_a_settings_error(tmp_path):
    for folder in (tmp_path, tmp_path / "not there"):
        with pytest.raises(SettingsError, match=r"holds no results\. Name the folder"):
            export(str(folder), ExportQuery(), io.BytesIO())


def test_an_export_to_a_pipe_is_complete(folder, tmp_path):
    import os
    import threading

    for format in ("jsonl", "csv", "parquet", "coco"):
        reading, writing = os.pipe()
        got = []
        with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as to:
            reader = threading.Thread(target=lambda source=source, got=got: got.append(source.read()))
            reader.start()
            export(folder, ExportQuery(format=format), to)
            to.close()
            reader.join()
        assert got[0] == written(folder, format)


def test_the_filters_choose_files_with_all_their_detections(folder):
    to = io.BytesIO()
    assert export(folder, ExportQuery(detector_label=("nsfw:nude",), min_score=0.9), to) == 1
    (line,) = map(json.loads, to.getvalue().splitlines())
    assert (line["uri"], len(line["detections"])) == ("s3://b/b.jpg", 2)
    for format in ("jsonl", "csv", "parquet", "coco"):
        assert export(folder, ExportQuery(format=format, label=("nobody",)), io.BytesIO()) == 0


def test_an_export_has_the_decisions_of_reviewers_in_every_format(folder, tmp_path):
    uri = "s3://b/b.jpg"
    store = DecisionStore(tmp_path / "decisions.sqlite")
    new = NewDecision(version=0, label="relevant", tags=("car", "night"), note="=1+1")
    store.decide([(MediaFile(asset_id(uri), uri, None, {}), new)], Identity("Ann", "reviewer", id="a" * 12))
    store.close()

    def exported(format):
        to = io.BytesIO()
        export(folder, ExportQuery(format=format), to, decisions=tmp_path / "decisions.sqlite")
        return to.getvalue()

    (line,) = (line for line in map(json.loads, exported("jsonl").splitlines()) if line["uri"] == uri)
    at = line["decision"].pop("at")
    assert line["decision"] == {"label": "relevant", "tags": ["car", "night"], "note": "=1+1", "who": "Ann"}
    rows = list(csv.DictReader(io.StringIO(exported("csv").decode(), newline="")))
    decided = [row for row in rows if row["uri"] == uri]
    names = ("decision", "decision_tags", "decision_note", "decided_by", "decided_at")
    assert {tuple(row[name] for name in names) for row in decided} == {("relevant", "car; night", "'=1+1", "Ann", at)}
    assert {row["decision"] for row in rows if row["uri"] != uri} == {""}
    of_file = {row["uri"]: row["decision"] for row in pq.read_table(io.BytesIO(exported("parquet"))).to_pylist()}
    assert of_file.pop(uri) == line["decision"] | {"at": at} and set(of_file.values()) == {None}
    (image,) = json.loads(exported("coco"))["images"]
    assert image["decision"]["label"] == "relevant"


def test_only_files_with_a_decision_are_exported_if_asked_for(folder):
    to = io.BytesIO()
    assert export(folder, ExportQuery(decision=("none",)), to, decisions=Path("nowhere.sqlite")) == 3
    assert export(folder, ExportQuery(decision=("relevant",)), to) == 0
