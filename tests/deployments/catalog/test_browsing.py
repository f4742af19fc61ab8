"""Pages of files, facets, and single files."""

import pytest
from pydantic import ValidationError

from cluster.api_queries import AssetQuery
from cluster.records import asset_id
from tests.deployments.catalog.contents import all_lines
from tests.support import stored


def names(catalog, **query):
    return [item["name"] for item in catalog.assets(AssetQuery(**query))["items"]]


def test_shows_the_newest_files_first(catalog):
    assert names(catalog) == ["five.jpg", "four.jpg", "three.mp4", "Two.jpg", "one.jpg"]
    assert names(catalog, sort="oldest") == names(catalog)[::-1]


def test_sorts_by_name_ignoring_case(catalog):
    assert names(catalog, sort="name") == ["five.jpg", "four.jpg", "one.jpg", "three.mp4", "Two.jpg"]


def test_sorts_by_the_best_score_and_puts_files_without_one_last(catalog):
    assert names(catalog, sort="score")[:3] == ["three.mp4", "one.jpg", "Two.jpg"]
    assert set(names(catalog, sort="score")[3:]) == {"four.jpg", "five.jpg"}


def test_the_score_is_that_of_the_filtered_detections(catalog):
    page = catalog.assets(AssetQuery(label=("nude",), sort="score"))
    assert [(item["name"], item["score"]) for item in page["items"]] == [
        ("one.jpg", 0.9),
        ("three.mp4", 0.6),
        ("Two.jpg", 0.4),
    ]


def test_a_detector_and_a_label_must_match_the_same_detection(catalog):
    assert names(catalog, detector=("ocr",), label=("nude",)) == []
    assert names(catalog, detector=("nsfw", "ocr"), label=("nude", "text"), sort="name") == [
        "one.jpg",
        "three.mp4",
        "Two.jpg",
    ]


def test_the_least_score_is_that_of_a_matching_detection(catalog):
    assert names(catalog, label=("nude",), min_score=0.6) == ["three.mp4", "one.jpg"]
    assert names(catalog, min_score=0.95) == ["three.mp4"]
    assert names(catalog, label=("nude",), min_score=0.0) == ["three.mp4", "Two.jpg", "one.jpg"]
    assert names(catalog, label=("no such label",), min_score=0.0) == []


def test_filters_by_kind_place_and_outcome(catalog):
    assert names(catalog, kind=("video",)) == ["three.mp4"]
    assert names(catalog, under=("s3://b/x/",)) == ["Two.jpg", "one.jpg"]
    assert names(catalog, failed=True) == ["five.jpg"]
    assert names(catalog, failed=False, under=("s3://b/y",)) == ["four.jpg", "three.mp4"]
    assert names(catalog, under=("s3://b/x/' or 1=1 --",)) == []


def test_pages_hold_every_file_once(catalog):
    pages = [catalog.assets(AssetQuery(sort="score", page=page, size=2)) for page in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [2, 2, 1, 0]
    assert {page["total"] for page in pages} == {5}
    assert len({item["id"] for page in pages for item in page["items"]}) == 5


def test_a_page_is_never_larger_than_200():
    with pytest.raises(ValidationError, match="less than or equal to 200"):
        AssetQuery(size=201)


def test_an_item_has_the_fields_of_a_tile(catalog):
    (item,) = catalog.assets(AssetQuery(under=("s3://b/x/one",)))["items"]
    assert item == {
        "id": asset_id("s3://b/x/one.jpg"),
        "uri": "s3://b/x/one.jpg",
        "name": "one.jpg",
        "kind": "image",
        "parent": None,
        "width": 640,
        "height": 480,
        "duration_s": None,
        "segments": None,
        "analyzed_at": "2026-11-22T12:00:00.000Z",
        "has_thumbnail": True,
        "bytes": 10,
        "job": "job",
        "decision": None,
        "score": 0.9,
        "labels": [
            {"detector": "nsfw", "label": "nude", "score": 0.9, "count": 1},
            {"detector": "ocr", "label": "text", "score": 0.8, "count": 1},
        ],
        "boxes": [{"detector": "nsfw", "label": "nude", "score": 0.9, "box": [0.1, 0.2, 0.3, 0.4]}],
        "errors": [],
    }


def test_facets_count_files_under_the_other_filters(catalog):
    everything = catalog.facets(AssetQuery())
    assert everything == {
        "total": 5,
        "kinds": {"image": 3, "video": 1},
        "found_by": {"nsfw": 3, "ocr": 1, "whisper": 1},
        "detectors": [
            {"detector": "nsfw", "label": "nude", "count": 3, "score": 0.9},
            {"detector": "nsfw", "label": "suggestive", "count": 1, "score": 0.7},
            {"detector": "ocr", "label": "text", "count": 1, "score": 0.8},
            {"detector": "whisper", "label": "speech", "count": 1, "score": 0.95},
        ],
        "failed": 1,
        "failures": [{"step": "fetch", "reason": "gone", "count": 1, "example": asset_id("s3://b/y/five.jpg")}],
        "decisions": {},
        "tags": {},
    }
    nude = catalog.facets(AssetQuery(label=("nude",), kind=("image",)))
    assert nude["total"] == 2
    assert nude["kinds"] == {"image": 2, "video": 1}
    assert {"detector": "nsfw", "label": "suggestive", "count": 1, "score": 0.7} in nude["detectors"]
    assert "whisper" not in {facet["detector"] for facet in nude["detectors"]}
    assert nude["failed"] == 0


def test_the_count_of_a_facet_equals_the_files_that_its_filter_shows(catalog):
    for facet in catalog.facets(AssetQuery(min_score=0.5))["detectors"]:
        query = AssetQuery(detector=(facet["detector"],), label=(facet["label"],), min_score=0.5)
        assert catalog.assets(query)["total"] == facet["count"]


def test_a_file_has_all_its_facts_and_detections(catalog):
    asset = catalog.asset(asset_id("s3://b/y/three.mp4"))
    assert (asset["sha256"], asset["duration_s"], asset["has_thumbnail"]) == (None, 61.235, False)
    assert asset["boxes"] == []
    assert asset["detections"][1] == {
        "detector": "whisper",
        "model": "m1",
        "label": "speech",
        "score": 0.95,
        "box": None,
        "time_s": None,
        "span": [1.25, 4.5],
        "text": "the total is due",
        "evidence": None,
        "carried": False,
    }


def test_an_unknown_file_is_none(catalog):
    for id in (asset_id("s3://b/nothing"), "no id", "", "'; drop table files"):
        assert catalog.asset(id) is None
        assert catalog.thumbnail(id) is None
        assert catalog.location(id) is None
    assert catalog.items(["no id", asset_id("s3://b/x/one.jpg")])[0]["name"] == "one.jpg"
    assert catalog.thumbnail(asset_id("s3://b/y/four.jpg")) is None


def test_a_thumbnail_is_returned_as_it_was_stored(catalog):
    assert catalog.thumbnail(asset_id("s3://b/x/one.jpg"))["jpeg"] == b"jpeg"


def test_items_keep_the_requested_order(catalog):
    ids = [asset_id(f"s3://b/{name}") for name in ("y/four.jpg", "x/one.jpg", "y/three.mp4")]
    assert [item["id"] for item in catalog.items(ids)] == ids


def test_lines_equal_those_of_an_export(catalog):
    lines = sorted(all_lines(catalog), key=lambda line: line["uri"])
    of_file = ["uri", "parent", "sha256", "kind", "width", "height", "duration_s"]
    assert list(lines[0]) == [*of_file, "detections", "errors", "decision"]
    assert lines[1]["detections"][0] == {
        "detector": "nsfw",
        "model": "m1",
        "label": "nude",
        "score": 0.9,
        "box": [0.1, 0.2, 0.3, 0.4],
        "time_s": None,
        "span": None,
        "text": None,
    }
    assert [len(line["detections"]) for line in lines] == [2, 2, 0, 0, 2]
    assert lines[2]["errors"] == [{"step": "fetch", "reason": "gone"}]


def test_a_member_of_a_container_has_its_own_name_and_names_the_file_that_contains_it(catalog, tmp_path):
    row = stored.row("s3://b/c.zip!in/d%20e.jpg", unit=700, etag="e!0-1", parent="s3://b/c.zip")
    catalog.load(stored.commit(tmp_path / "members", "a.parquet", row))
    (item,) = catalog.assets(AssetQuery(under=("s3://b/c.zip",)))["items"]
    assert (item["name"], item["parent"]) == ("d e.jpg", "s3://b/c.zip")
    assert catalog.location(item["id"])["parent"] == "s3://b/c.zip"
