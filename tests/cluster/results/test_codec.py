"""Records to rows of Parquet and back."""

import pyarrow as pa
import pytest

from cluster.records import Detection, Failure, Finding, MediaItem, ModelVersion, Result, Usage, Vector
from cluster.results.codec import DETECTIONS, SCHEMA, detection_row, finding, findings, to_row


def test_a_result_is_unchanged_after_a_round_trip():
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
        frames_propagated=1,
        findings=(Finding("face", "dlib", detection, propagated=True),),
        failures=(Failure("whisper", "no sound"),),
        model_versions=(ModelVersion("face", "dlib"),),
        usage=(Usage("face", 1.5, 0.25),),
        thumbnail=b"jpeg",
    )
    row = to_row(result, 5, "job", 7)
    (back,) = pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
    (nested,) = back["detections"]
    assert nested["box"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert back | {"detections": [nested | {"box": [0.1, 0.2, 0.3, 0.4]}]} == row
    assert set(row) == set(SCHEMA.names)


def test_a_failed_file_has_a_row_too():
    row = to_row(Result(MediaItem("file:///x", 0, "e"), failures=(Failure("fetch", "gone"),)), 1, "job", 7)
    (back,) = pa.Table.from_pylist([row], schema=SCHEMA).to_pylist()
    assert back["errors"] == [{"step": "fetch", "reason": "gone"}]
    assert back["kind"] is None and back["detections"] == []


def test_a_finding_is_unchanged_after_a_round_trip():
    face = Vector("faces", (0.5, -1.0))
    detections = [
        Detection("face", 0.5, (0.0, 0.25, 0.5, 1.0), 1.5, (1.0, 2.0), "hello", "near x", (face,)),
        Detection("nude", 1.0),
    ]
    given = [Finding("a", "m", detection, propagated) for detection in detections for propagated in (False, True)]
    rows = pa.Table.from_pylist(list(map(detection_row, given)), DETECTIONS).to_pylist()
    assert [finding(row) for row in rows] == given


def test_findings_are_decoded_row_by_row_for_all_detectors_or_for_one():
    a, b = (Finding(name, "m", Detection(name, 0.5)) for name in "ab")
    results = [Result(MediaItem(uri, 0, "e"), findings=of) for uri, of in (("1", (a, b)), ("2", ()), ("3", (b, b)))]
    rows = pa.Table.from_pylist([to_row(result, n, "job", 1) for n, result in enumerate(results)], SCHEMA)
    assert findings(rows) == [[a, b], [], [b, b]]
    assert findings(rows, "b") == [[b], [], [b, b]]
    assert findings(rows.slice(2), "b") == [[b, b]]  # only the rows of the slice


def test_fields_that_were_not_read_are_empty():
    row = {"detector": "face", "model": "m", "label": "face", "score": 0.5}
    assert finding(row) == Finding("face", "m", Detection("face", 0.5))
