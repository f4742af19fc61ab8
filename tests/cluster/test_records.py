import pyarrow as pa
import pytest

from cluster.records import (
    SCHEMA,
    Detection,
    Failure,
    Finding,
    MediaItem,
    ModelVersion,
    Result,
    Sample,
    Vector,
    asset_id,
    to_row,
)


def test_a_result_comes_back_from_its_row_as_it_was():
    detection = Detection(
        "face", 0.5, (0.1, 0.2, 0.3, 0.4), 1.5, (1.0, 2.0), "hello", "near x", (Vector("faces", (0.5, -1.0)),)
    )
    result = Result(
        MediaItem("s3://bucket/a.mp4", 7, "etag", "video"),
        sha256="ab",
        width=4,
        height=3,
        duration_s=2.5,
        frames=3,
        frames_carried=1,
        findings=(Finding("face", "dlib", detection, carried=True),),
        failures=(Failure("whisper", "no sound"),),
        model_versions=(ModelVersion("face", "dlib"),),
        thumbnail=b"jpeg",
    )
    row = to_row(result, 5, "job")
    (back,) = pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
    (nested,) = back["detections"]
    assert nested["box"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert back | {"detections": [nested | {"box": [0.1, 0.2, 0.3, 0.4]}]} == row
    assert set(row) == set(SCHEMA.names)


def test_a_failed_file_has_a_row_too():
    row = to_row(Result(MediaItem("file:///x", 0, "e"), failures=(Failure("fetch", "gone"),)), 1, "job")
    (back,) = pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
    assert back["errors"] == [{"step": "fetch", "reason": "gone"}]
    assert back["kind"] is None and back["detections"] == []


def test_moves_what_was_seen_to_the_time_of_its_frame():
    assert Detection("a", 1).at(3.0).time_s == 3.0
    assert Detection("a", 1, span=(1.0, 2.0)).at(1800.0) == Detection("a", 1, span=(1801.0, 1802.0))
    assert Detection("a", 1).at(None) == Detection("a", 1)


def test_a_vector_of_before_comes_back_in_the_space_of_now():
    former = [Vector(space, (1.0,)) for space in ("looks", "words", "faces")]
    assert [vector.space for vector in former] == ["image", "text", "faces"]
    assert former[0] == Vector("image", (1.0,))


def test_an_asset_keeps_its_name_and_shares_it_with_none():
    ids = {asset_id(f"s3://bucket/{n}") for n in range(1000)}
    assert len(ids) == 1000
    assert asset_id("s3://bucket/0") in ids
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)


def test_a_sample_says_what_it_holds():
    assert Sample(text="words").modality == "text"
