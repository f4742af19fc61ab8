"""What results of scans add to the metrics."""

from cluster.records import Detection, Failure, Finding, MediaItem, Result
from pipelines.results.counting import count_results
from tests.cluster.metrics.recorded import recorded


def test_units_frames_findings_and_failures_are_counted_without_names_or_reasons():
    finding = Finding("ocr", "m", Detection("text", 0.9, text="a secret"))
    results = [
        Result(MediaItem("s3://evidence/a.jpg", 1, "e", "image"), frames=1, findings=(finding, finding)),
        Result(MediaItem("s3://evidence/b.mp4", 1, "e", "video"), frames=60, frames_propagated=20),
        Result(MediaItem("s3://evidence/c", 1, "e"), failures=(Failure("fetch", "s3://evidence/c is not there"),)),
    ]
    with recorded() as values:
        count_results(results)
    assert values == [
        ("raysift_units_total", 1.0, {"kind": "image", "outcome": "done"}),
        ("raysift_units_total", 1.0, {"kind": "video", "outcome": "done"}),
        ("raysift_units_total", 1.0, {"kind": "unknown", "outcome": "failed"}),
        ("raysift_frames_total", 20.0, {"source": "propagated"}),
        ("raysift_frames_total", 41.0, {"source": "analysed"}),
        ("raysift_findings_total", 2.0, {"detector": "ocr"}),
        ("raysift_failures_total", 1.0, {"step": "fetch"}),
    ]
