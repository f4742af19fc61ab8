"""Videos that were analysed in segments."""

from cluster.api_queries import AssetQuery
from deployments.catalog.catalog import Catalog
from tests.deployments.catalog.contents import all_lines, film
from tests.support.stored import aged, commit, found, row


def test_a_film_is_one_file_with_the_detections_of_all_its_segments(tmp_path):
    catalog = Catalog(":memory:")
    late = film((2, 3, 60.0), found("nsfw", "nude", 0.7, time_s=125.0), failures=[("ocr", "tired")], thumbnail=b"late")
    catalog.load(commit(tmp_path, "1", late))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert item["segments"] == {"done": 1, "of": 3}
    assert catalog.thumbnail(item["id"])["jpeg"] == b"late"
    first = film((0, 3, 60.0), found("nsfw", "nude", 0.9, time_s=1.0), found("nsfw", "nude", 0.8, time_s=2.0),
                 failures=[("ocr", "tired"), ("whisper", "no")], thumbnail=b"first")  # fmt: skip
    catalog.load(commit(tmp_path, "2", first, film((1, 3, 60.0), answered=("nsfw",), thumbnail=b"middle")))
    (item,) = catalog.assets(AssetQuery(label=("nude",)))["items"]
    assert item["segments"] == catalog.asset(item["id"])["segments"] == {"done": 3, "of": 3}
    assert item["labels"] == [{"detector": "nsfw", "label": "nude", "score": 0.9, "count": 3}]
    assert [detection["time_s"] for detection in catalog.asset(item["id"])["detections"]] == [1.0, 2.0, 125.0]
    assert item["errors"] == [{"step": "ocr", "reason": "tired"}, {"step": "whisper", "reason": "no"}]
    assert catalog.thumbnail(item["id"])["jpeg"] == b"first"
    assert catalog.facets(AssetQuery())["detectors"] == [
        {"detector": "nsfw", "label": "nude", "count": 1, "score": 0.9}
    ]
    (line,) = all_lines(catalog)
    assert [detection["time_s"] for detection in line["detections"]] == [1.0, 2.0, 125.0]
    assert catalog.job("job") == {"done": 3, "failed": 2}
    summary = catalog.summary("job")
    assert (summary["files"], summary["detectors"][0]["files"], summary["detectors"][0]["detections"]) == (1, 1, 3)
    assert len(summary["detectors"]) == 1
    assert summary["detectors"][0]["top_labels"] == [{"label": "nude", "files": 1}]
    assert [failure["step"] for failure in summary["failed"]] == ["ocr", "whisper"]


def test_another_cut_of_a_film_replaces_the_former_one(tmp_path):
    catalog = Catalog(":memory:")
    halves = [film((n, 2, 60.0), found("nsfw", f"old {n}", 0.9), found("ocr", "text", 0.5)) for n in (0, 1)]
    catalog.load(commit(tmp_path, "1", *halves))
    catalog.load(commit(tmp_path, "2", film((0, 4, 30.0), found("nsfw", "new", 0.9), minutes=1)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["new"]
    assert item["segments"] == {"done": 1, "of": 4}
    # when the first cut comes back, its detections count again
    catalog.load(commit(tmp_path, "3", film((1, 2, 60.0), found("logo", "ACME", 0.8), minutes=2)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["old 0", "old 1", "ACME", "text"]
    assert item["segments"] == {"done": 2, "of": 2}
    # and none of them when the content of the film was replaced
    catalog.load(commit(tmp_path, "4", row("s3://b/film", etag="e2", minutes=3)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert (item["labels"], item["segments"]) == ([], None)


def test_a_forgotten_label_does_not_come_back_with_an_older_cut(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", film((0, 2, 60.0), found("face", "Ann", 0.9), found("face", "face", 0.9))))
    catalog.load(commit(tmp_path, "2", film((0, 4, 30.0), minutes=1)))
    assert catalog.forget("face", "Ann") == 0
    catalog.load(commit(tmp_path, "3", film((1, 2, 60.0), minutes=2)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["face"]


def test_results_without_segments_are_read(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", found("nsfw", "nude", 0.9), failures=[("ocr", "tired")]))
    commit(tmp_path, "2.parquet", row("s3://b/a", answered=("nsfw",), minutes=1), film((1, 2, 60.0)))
    aged(tmp_path, "1.parquet")
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(tmp_path)) == 3
    (a, _) = catalog.assets(AssetQuery(sort="name"))["items"]
    assert (a["labels"], a["errors"], a["segments"]) == ([], [], None)  # both rows are of one content
