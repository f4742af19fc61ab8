"""Records of the vector store from committed rows: ids, vectors, metadata."""

import numpy as np

from cluster.records import Vector, asset_id
from cluster.results import files as results_files
from cluster.results.embeddings import embeddings
from tests.cluster.test_vectors import answers, film, look, rows, unit
from tests.support.stored import found, row


def test_every_vector_is_taken_with_its_metadata():
    one = row(
        "s3://b/a",
        found("ocr", "text", 0.5, text="x" * 900, vectors=(Vector("text", (1.0, 0.0, 0.0)),)),
        found("nsfw", "nude", 0.5),
        found("whisper", "speech", 1.0, span=(2.5, 3.0), text="hi", vectors=(Vector("text", (0.0, 1.0, 0.0)),)),
        found("face", "face", 1.0, time_s=7.0, vectors=(Vector("faces", (1.0, 2.0)), Vector("image", (3.0, 4.0)))),
    )
    table = rows(row("s3://b/none"), one)
    by_name = embeddings(table, answers(table))
    asset = asset_id("s3://b/a")
    assert {name: entries.ids for name, entries in by_name.items()} == {
        "text-3": [f"{asset}:ocr:0", f"{asset}:whisper:2"],
        "faces-2": [f"{asset}:face:3"],
        "image-2": [f"{asset}:face:3"],
    }
    assert [list(v) for v in by_name["text-3"].values] == [[1, 0, 0], [0, 1, 0]]
    of = {"asset": asset, "content": results_files.content("e1", None), "job": "job", "unit_id": 0}
    of["sequence"] = one["sequence"]
    assert by_name["text-3"].metadatas == [
        of | {"detector": "ocr", "label": "text", "text": "x" * 500},
        of | {"detector": "whisper", "label": "speech", "time_s": 2.5, "text": "hi"},
    ]
    assert by_name["faces-2"].metadatas[0]["time_s"] == 7.0


def test_rows_that_are_a_slice_of_a_table_give_their_own_vectors():
    table = rows(*(row(f"s3://b/{n}", look(n), look(100 + n)) for n in range(6)))
    whole = embeddings(table, answers(table))["image-8"]
    part = table.slice(2, 2)
    entries = embeddings(part, answers(part))["image-8"]
    assert entries.ids == whole.ids[4:8]
    assert np.array_equal(entries.values, whole.values[4:8])


def test_two_vectors_of_one_space_in_one_detection_are_both_kept():
    table = rows(row("s3://b/a", found("clip", "l", 1.0, vectors=(Vector("image", unit(1)), Vector("image", unit(2))))))
    ids = embeddings(table, answers(table))["image-8"].ids
    assert ids == [f"{asset_id('s3://b/a')}:clip:0", f"{asset_id('s3://b/a')}:clip:0:1"]
    later = rows(row("s3://b/0", look(3)), *table.to_pylist())
    assert embeddings(later, answers(later))["image-8"].ids[1:] == ids  # whatever rows are before them


def test_vectors_of_segments_have_ids_of_their_own():
    table = rows(*(film((n, 12, 60.0), look(n), look(100 + n)) for n in (0, 11)), row("s3://b/film", look(7), etag="0"))
    entries = embeddings(table, answers(table))["image-8"]
    asset = asset_id("s3://b/film")
    assert entries.ids == [f"{asset}:clip:{n}" for n in ("0:0", "0:1", "11:0", "11:1")]
    assert [of["segment"] for of in entries.metadatas] == [0, 0, 11, 11]
    assert {of["content"] for of in entries.metadatas} == {results_files.content("e1", 60.0)}


def test_rows_without_vectors_give_no_entries():
    table = rows(row("s3://b/a", found("nsfw", "nude", 0.5)), row("s3://b/b"))
    assert embeddings(table, answers(table)) == {}
    table = rows()
    assert embeddings(table, answers(table)) == {}


def test_rows_with_former_names_of_spaces_are_indexed_under_the_current_names():
    former = row("s3://b/a", found("clip", "cat", 1.0))
    former["detections"][0]["vectors"] = [{"space": s, "values": [1.0, 0.0]} for s in ("looks", "words", "faces")]
    table = rows(former)
    assert sorted(embeddings(table, answers(table))) == ["faces-2", "image-2", "text-2"]
