"""Counts and summaries of jobs."""

from deployments.catalog.catalog import Catalog
from tests.deployments.catalog.contents import film
from tests.support.stored import commit, found, row


def test_counts_the_loaded_units_of_a_job(catalog):
    assert catalog.job("job") == {"done": 5, "failed": 1}
    assert catalog.job("another") == {"done": 0, "failed": 0}
    assert catalog.jobs() == {"job": {"done": 5, "failed": 1}}


def test_summarises_a_job(catalog):
    summary = catalog.summary("job")
    assert summary["files"] == 5
    assert summary["failed"] == [{"uri": "s3://b/y/five.jpg", "step": "fetch", "reason": "gone"}]
    assert summary["detectors"][0] == {
        "detector": "nsfw",
        "files": 3,
        "detections": 4,
        "top_labels": [{"label": "nude", "files": 3}, {"label": "suggestive", "files": 1}],
        "example": None,
    }
    assert [row["detector"] for row in summary["detectors"]] == ["nsfw", "ocr", "whisper"]


def test_a_detector_that_found_nothing_is_in_the_summary(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/1", answered=("logo",)))
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    assert catalog.summary("job")["detectors"] == [
        {"detector": "logo", "files": 0, "detections": 0, "top_labels": [], "example": None}
    ]


def test_a_unit_that_was_committed_twice_is_counted_once(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", row("s3://b/a", unit=1), row("s3://b/b", unit=2)))
    again = row("s3://b/a", unit=1, minutes=1, failures=[("fetch", "gone")])
    catalog.load(commit(tmp_path, "2", again))
    assert catalog.job("job") == {"done": 2, "failed": 1}
    catalog.load(commit(tmp_path, "3", again))
    assert catalog.job("job") == {"done": 2, "failed": 1}
    assert catalog.summary("job")["files"] == 2


def test_the_summary_counts_the_newest_row_of_a_unit_that_was_committed_twice(tmp_path):
    first = row("s3://b/a", found("nsfw", "nude", 0.9), found("nsfw", "nude", 0.8), unit=1, failures=[("ocr", "tired")])
    again = row("s3://b/a", found("nsfw", "suggestive", 0.9), answered=("logo",), unit=1, minutes=1)
    part = film((0, 2, 60.0), found("nsfw", "nude", 0.9), job="job")
    other_part = film((1, 2, 60.0), found("nsfw", "nude", 0.7), job="job")
    commits = {"1": [first, part], "2": [again, part], "3": [other_part], "all": [first, again, part, other_part]}
    files = [commit(tmp_path, name, *rows) for name, rows in commits.items()]
    for order in (files[:3], files[2::-1], files[3:], files):
        catalog = Catalog(":memory:")
        for file in order:
            catalog.load(file)
        summary = catalog.summary("job")
        assert (summary["files"], catalog.job("job")) == (2, {"done": 3, "failed": 0})
        logo, nsfw = summary["detectors"]
        assert (logo["detector"], logo["files"], logo["detections"]) == ("logo", 0, 0)
        assert (nsfw["files"], nsfw["detections"]) == (2, 3)
        assert nsfw["top_labels"] == [{"label": "nude", "files": 1}, {"label": "suggestive", "files": 1}]
        catalog.close()


def test_what_each_detector_has_done_so_far_is_counted_while_a_job_runs(tmp_path):
    one = row("s3://b/a", found("nsfw", "nude", 0.9), found("nsfw", "nude", 0.8), unit=1, answered=("nsfw", "ocr"))
    two = row("s3://b/b", unit=2, answered=("nsfw",), failures=[("ocr", "tired")])
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", one))
    catalog.load(commit(tmp_path, "2", two))
    assert catalog.job_so_far("job") == [
        {"detector": "nsfw", "units": 2, "files": 1, "detections": 2},
        {"detector": "ocr", "units": 1, "files": 0, "detections": 0},
    ]
    assert catalog.job_so_far("another") == []
