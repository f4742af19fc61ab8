import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster.api_queries import AssetQuery
from cluster.errors import SettingsError
from cluster.records import asset_id
from deployments.catalog.catalog import Catalog
from tests.support.paths import ROOT
from tests.support.stored import aged, commit, found, row


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Five files of one job, of which one failed."""
    tmp_path = tmp_path_factory.mktemp("results")
    commit(
        tmp_path / "out",
        "a.parquet",
        row(
            "s3://b/x/one.jpg",
            found("nsfw", "nude", 0.9, box=(0.1, 0.2, 0.3, 0.4)),
            found("ocr", "text", 0.8, text="Total Due 42"),
            unit=1,
            width=640,
            height=480,
            sha256="aa",
            thumbnail=b"jpeg",
        ),
        row("s3://b/x/Two.jpg", found("nsfw", "nude", 0.4), found("nsfw", "suggestive", 0.7), unit=2, minutes=1),
    )
    commit(
        tmp_path / "out",
        "b.parquet",
        row(
            "s3://b/y/three.mp4",
            found("nsfw", "nude", 0.6, time_s=3.0),
            found("whisper", "speech", 0.95, span=(1.25, 4.5), text="the total is due"),
            kind="video",
            duration_s=61.23456,
            unit=3,
            minutes=2,
        ),
        row("s3://b/y/four.jpg", unit=4, minutes=3, answered=("nsfw",)),
        row("s3://b/y/five.jpg", unit=5, minutes=4, kind=None, failures=[("fetch", "gone")]),
    )
    made = Catalog(":memory:")
    assert made.load_all(str(tmp_path / "out")) == 5
    yield made
    made.close()


def names(catalog, **query):
    return [item["name"] for item in catalog.assets(AssetQuery(**query))["items"]]


def test_shows_the_newest_files_first(catalog):
    assert names(catalog) == ["five.jpg", "four.jpg", "three.mp4", "Two.jpg", "one.jpg"]
    assert names(catalog, sort="oldest") == names(catalog)[::-1]


def test_sorts_by_name_whatever_the_case(catalog):
    assert names(catalog, sort="name") == ["five.jpg", "four.jpg", "one.jpg", "three.mp4", "Two.jpg"]


def test_sorts_by_the_best_score_and_puts_files_without_one_last(catalog):
    assert names(catalog, sort="score")[:3] == ["three.mp4", "one.jpg", "Two.jpg"]
    assert set(names(catalog, sort="score")[3:]) == {"four.jpg", "five.jpg"}


def test_the_score_is_that_of_what_was_asked_for(catalog):
    page = catalog.assets(AssetQuery(label=("nude",), sort="score"))
    assert [(item["name"], item["score"]) for item in page["items"]] == [
        ("one.jpg", 0.9),
        ("three.mp4", 0.6),
        ("Two.jpg", 0.4),
    ]


def test_a_detector_and_a_label_must_meet_in_one_detection(catalog):
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


def test_an_item_says_what_a_tile_shows(catalog):
    (item,) = catalog.assets(AssetQuery(under=("s3://b/x/one",)))["items"]
    assert item == {
        "id": asset_id("s3://b/x/one.jpg"),
        "uri": "s3://b/x/one.jpg",
        "name": "one.jpg",
        "kind": "image",
        "width": 640,
        "height": 480,
        "duration_s": None,
        "segments": None,
        "analyzed_at": "2026-11-22T12:00:00.000Z",
        "has_thumbnail": True,
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
            {"detector": "nsfw", "label": "nude", "count": 3},
            {"detector": "nsfw", "label": "suggestive", "count": 1},
            {"detector": "ocr", "label": "text", "count": 1},
            {"detector": "whisper", "label": "speech", "count": 1},
        ],
        "failed": 1,
    }
    nude = catalog.facets(AssetQuery(label=("nude",), kind=("image",)))
    assert nude["total"] == 2
    assert nude["kinds"] == {"image": 2, "video": 1}
    assert {"detector": "nsfw", "label": "suggestive", "count": 1} in nude["detectors"]
    assert {"detector": "whisper", "label": "speech", "count": 1} not in nude["detectors"]
    assert nude["failed"] == 0


def test_facets_promise_what_the_filter_then_shows(catalog):
    for facet in catalog.facets(AssetQuery(min_score=0.5))["detectors"]:
        query = AssetQuery(detector=(facet["detector"],), label=(facet["label"],), min_score=0.5)
        assert catalog.assets(query)["total"] == facet["count"]


def test_gives_all_that_is_known_of_a_file(catalog):
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


def test_what_is_not_there_is_none(catalog):
    for id in (asset_id("s3://b/nothing"), "no id", "", "'; drop table files"):
        assert catalog.asset(id) is None
        assert catalog.thumbnail(id) is None
        assert catalog.location(id) is None
    assert catalog.items(["no id", asset_id("s3://b/x/one.jpg")])[0]["name"] == "one.jpg"
    assert catalog.thumbnail(asset_id("s3://b/y/four.jpg")) is None


def test_gives_the_thumbnail_as_it_was_stored(catalog):
    assert catalog.thumbnail(asset_id("s3://b/x/one.jpg")) == b"jpeg"


def test_items_keep_the_order_in_which_they_were_asked_for(catalog):
    ids = [asset_id(f"s3://b/{name}") for name in ("y/four.jpg", "x/one.jpg", "y/three.mp4")]
    assert [item["id"] for item in catalog.items(ids)] == ids


def test_finds_words_in_lines_speech_and_names_whatever_the_case(catalog):
    (hit,) = catalog.text_search("total DUE")
    assert hit == {
        "asset": asset_id("s3://b/x/one.jpg"),
        "detector": "ocr",
        "text": "Total Due 42",
        "time_s": None,
        "score": 0.8,
    }
    assert [hit["time_s"] for hit in catalog.text_search("is due")] == [1.25]
    assert [hit["text"] for hit in catalog.text_search("two.JPG")] == ["Two.jpg"]
    assert len(catalog.text_search("total")) == 2
    assert len(catalog.text_search("total", limit=1)) == 1


def test_words_are_taken_as_they_are(catalog):
    for words in ("%", "t.tal", "[", "_", "(", "\\", " ", ""):
        assert catalog.text_search(words) == []


def test_whole_words_come_before_parts_of_words(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/1", found("ocr", "text", 0.9, text="subtotals"), unit=1),
        row("s3://b/2", found("ocr", "text", 0.3, text="Straße total"), unit=2),
    )
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    assert [hit["text"] for hit in catalog.text_search("total")] == ["Straße total", "subtotals"]
    assert [hit["text"] for hit in catalog.text_search("STRASSE")] == []
    assert [hit["text"] for hit in catalog.text_search("straße")] == ["Straße total"]


def test_counts_what_is_in_of_a_job(catalog):
    assert catalog.job("job") == {"done": 5, "failed": 1}
    assert catalog.job("another") == {"done": 0, "failed": 0}
    assert catalog.jobs() == {"job": {"done": 5, "failed": 1}}


def test_sums_up_a_job(catalog):
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


def test_lines_are_those_of_an_export(catalog):
    lines = list(catalog.lines())
    assert [line["uri"] for line in lines] == sorted(line["uri"] for line in lines)
    assert list(lines[0]) == ["uri", "sha256", "kind", "width", "height", "duration_s", "detections", "errors"]
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


def view(catalog):
    """All that may be asked, but for the numbers that go by order of arrival."""
    ids = [item["id"] for item in catalog.assets(AssetQuery(sort="name"))["items"]]
    return (
        list(catalog.lines()),
        [catalog.asset(id) for id in ids],
        [catalog.thumbnail(id) for id in ids],
        catalog.facets(AssetQuery()),
        catalog.jobs(),
        {job: catalog.summary(job) for job in catalog.jobs()},
    )


def test_the_order_in_which_files_are_loaded_does_not_matter(tmp_path):
    nsfw, ocr = found("nsfw", "nude", 0.9), found("ocr", "text", 0.8, text="old")
    scanned = [
        commit(tmp_path, "1", row("s3://b/a", nsfw, ocr, job="1", width=1, height=1, sha256="s", thumbnail=b"1")),
        commit(tmp_path, "2", row("s3://b/a", found("nsfw", "suggestive", 0.5), job="2", minutes=2, width=2)),
        commit(
            tmp_path,
            "3",
            row("s3://b/a", job="3", minutes=3, answered=("logo",), failures=[("whisper", "no")], thumbnail=b"3"),
            row("s3://b/new", found("ocr", "text", 0.1), job="3", unit=1, minutes=3),
        ),
    ]
    changed = [
        commit(tmp_path, "4", row("s3://b/changed", nsfw, ocr, job="1", unit=4, sha256="old", thumbnail=b"old")),
        commit(tmp_path, "5", row("s3://b/changed", found("ocr", "text", 0.2), job="2", unit=4, minutes=9, etag="e2")),
    ]
    views = []
    for first, order in enumerate(itertools.permutations(scanned)):
        order = [changed[first % 2], *order, changed[1 - first % 2]]
        catalog = Catalog(":memory:")
        for file in order:
            catalog.load(file)
        views.append(view(catalog))
        catalog.close()
    assert all(other == views[0] for other in views)

    lines, assets, thumbnails, *_ = views[0]
    assert [(d["detector"], d["label"]) for d in lines[0]["detections"]] == [("nsfw", "suggestive"), ("ocr", "text")]
    assert (lines[0]["width"], lines[0]["height"], lines[0]["sha256"]) == (2, 1, "s")
    assert lines[0]["errors"] == [{"step": "whisper", "reason": "no"}]
    assert thumbnails[0] == b"3"
    # of a file whose content changed, only what was said of the new one
    assert [(d["detector"], d["score"]) for d in lines[1]["detections"]] == [("ocr", 0.2)]
    assert lines[1]["sha256"] is None and not assets[1]["has_thumbnail"]


def film(segment, *findings, **more):
    """A row of a segment of a film: (its number, how many there are, the length of a cut)."""
    return row("s3://b/film", *findings, kind="video", segment=segment, unit=segment[0], **more)


def test_a_film_is_one_file_with_what_was_found_in_all_its_segments(tmp_path):
    catalog = Catalog(":memory:")
    late = film((2, 3, 60.0), found("nsfw", "nude", 0.7, time_s=125.0), failures=[("ocr", "tired")], thumbnail=b"late")
    catalog.load(commit(tmp_path, "1", late))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert item["segments"] == {"done": 1, "of": 3}
    assert catalog.thumbnail(item["id"]) == b"late"
    first = film((0, 3, 60.0), found("nsfw", "nude", 0.9, time_s=1.0), found("nsfw", "nude", 0.8, time_s=2.0),
                 failures=[("ocr", "tired"), ("whisper", "no")], thumbnail=b"first")  # fmt: skip
    catalog.load(commit(tmp_path, "2", first, film((1, 3, 60.0), answered=("nsfw",), thumbnail=b"middle")))
    (item,) = catalog.assets(AssetQuery(label=("nude",)))["items"]
    assert item["segments"] == catalog.asset(item["id"])["segments"] == {"done": 3, "of": 3}
    assert item["labels"] == [{"detector": "nsfw", "label": "nude", "score": 0.9, "count": 3}]
    assert [one["time_s"] for one in catalog.asset(item["id"])["detections"]] == [1.0, 2.0, 125.0]
    assert item["errors"] == [{"step": "ocr", "reason": "tired"}, {"step": "whisper", "reason": "no"}]
    assert catalog.thumbnail(item["id"]) == b"first"
    assert catalog.facets(AssetQuery())["detectors"] == [{"detector": "nsfw", "label": "nude", "count": 1}]
    (line,) = catalog.lines()
    assert [one["time_s"] for one in line["detections"]] == [1.0, 2.0, 125.0]
    assert catalog.job("job") == {"done": 3, "failed": 2}
    summary = catalog.summary("job")
    assert (summary["files"], [(one["files"], one["detections"]) for one in summary["detectors"]]) == (1, [(1, 3)])
    assert summary["detectors"][0]["top_labels"] == [{"label": "nude", "files": 1}]
    assert [one["step"] for one in summary["failed"]] == ["ocr", "whisper"]


def test_another_cut_of_a_film_takes_the_place_of_the_one_before(tmp_path):
    catalog = Catalog(":memory:")
    halves = [film((n, 2, 60.0), found("nsfw", f"old {n}", 0.9), found("ocr", "text", 0.5)) for n in (0, 1)]
    catalog.load(commit(tmp_path, "1", *halves))
    catalog.load(commit(tmp_path, "2", film((0, 4, 30.0), found("nsfw", "new", 0.9), minutes=1)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["new"]
    assert item["segments"] == {"done": 1, "of": 4}
    # cut as before once more, what was said of that cut counts again
    catalog.load(commit(tmp_path, "3", film((1, 2, 60.0), found("logo", "ACME", 0.8), minutes=2)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["old 0", "old 1", "ACME", "text"]
    assert item["segments"] == {"done": 2, "of": 2}
    # and none of it when the film was replaced
    catalog.load(commit(tmp_path, "4", row("s3://b/film", etag="e2", minutes=3)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert (item["labels"], item["segments"]) == ([], None)


def test_a_label_that_is_to_be_forgotten_does_not_come_back_with_an_older_cut(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", film((0, 2, 60.0), found("face", "Ann", 0.9), found("face", "face", 0.9))))
    catalog.load(commit(tmp_path, "2", film((0, 4, 30.0), minutes=1)))
    assert catalog.forget("face", "Ann") == 0
    catalog.load(commit(tmp_path, "3", film((1, 2, 60.0), minutes=2)))
    (item,) = catalog.assets(AssetQuery())["items"]
    assert [label["label"] for label in item["labels"]] == ["face"]


def counting(rows):
    """By file what counts, told slowly: the newest answer for each segment of the newest row's content."""
    newest = sorted(rows, key=lambda row: (row["analyzed_at"], row["job"], row["unit_id"]))
    current = {row["uri"]: (row["etag"], row["segment_s"]) for row in newest}
    answered = {
        (row["uri"], one["detector"], row["segment"] or 0): row
        for row in newest
        for one in row["model_versions"]
        if current[row["uri"]] == (row["etag"], row["segment_s"])
    }
    told = {uri: [] for uri in sorted(current)}
    for (uri, detector, _), of in sorted(answered.items()):
        told[uri] += [(detector, one["label"]) for one in of["detections"] if one["detector"] == detector]
    return told


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_of_two_cuts_two_contents_and_three_jobs_the_same_counts(tmp_path, seed):
    chance = random.Random(seed)
    rows = []
    for unit in range(1, 25):
        of = chance.choice([1, 3, 6])
        findings = [
            found(detector, f"{unit} {n}", chance.random(), text="x" * chance.randrange(9))
            for detector in chance.sample(["clip", "nsfw", "ocr"], chance.randrange(3))
            for n in range(chance.randrange(1, 3))
        ]
        rows.append(
            row(
                f"s3://b/{chance.randrange(2)}",
                *findings,
                job=chance.choice("123") if of > 1 else f"whole {unit}",  # a job has a whole file once
                unit=unit,
                minutes=chance.randrange(12),
                etag=chance.choice(["e1", "e2"]),
                segment=None if of == 1 else (chance.randrange(3), of, 180.0 / of),
                answered=["logo"] * chance.randrange(2),
                failures=[("decode", str(chance.randrange(3)))] * chance.randrange(2),
                thumbnail=chance.choice([None, str(unit).encode()]),
            )
        )
    views = []
    for turn in range(3):
        chance.shuffle(rows)
        catalog = Catalog(":memory:")
        some = iter(rows)
        for n in itertools.count():
            if not (part := list(itertools.islice(some, chance.randrange(1, 6)))):
                break
            catalog.load(commit(tmp_path, f"{turn} {n}", *part))
        views.append(view(catalog))
        catalog.close()
    assert all(other == views[0] for other in views)
    told = {line["uri"]: [(one["detector"], one["label"]) for one in line["detections"]] for line in views[0][0]}
    assert told == counting(rows)
    for job, counts in views[0][4].items():
        of = [one for one in rows if one["job"] == job]
        assert counts == {"done": len(of), "failed": sum(bool(one["errors"]) for one in of)}
        assert views[0][5][job]["files"] == len({one["uri"] for one in of})


def test_results_of_before_there_were_segments_are_read(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", found("nsfw", "nude", 0.9), failures=[("ocr", "tired")]))
    commit(tmp_path, "2.parquet", row("s3://b/a", answered=("nsfw",), minutes=1), film((1, 2, 60.0)))
    aged(tmp_path, "1.parquet")
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(tmp_path)) == 3
    (a, _) = catalog.assets(AssetQuery(sort="name"))["items"]
    assert (a["labels"], a["errors"], a["segments"]) == ([], [], None)  # both rows are of one content


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


def test_a_detector_that_finds_nothing_any_more_takes_back_what_it_found(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", row("s3://b/a", found("nsfw", "nude", 0.9), found("ocr", "text", 0.9))))
    catalog.load(commit(tmp_path, "2", row("s3://b/a", answered=("nsfw",), minutes=1)))
    assert [facet["detector"] for facet in catalog.facets(AssetQuery())["detectors"]] == ["ocr"]


def test_a_detector_that_did_not_finish_leaves_the_older_answer(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", row("s3://b/a", found("nsfw", "nude", 0.9))))
    unfinished = row("s3://b/a", found("nsfw", "nude", 0.1), minutes=1) | {"model_versions": []}
    catalog.load(commit(tmp_path, "2", unfinished))
    assert catalog.assets(AssetQuery())["items"][0]["score"] == 0.9


def test_loading_again_changes_nothing(tmp_path):
    file = commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    catalog = Catalog(":memory:")
    assert (catalog.load(file), catalog.load(file), catalog.load_all(str(tmp_path))) == (1, 0, 0)
    before = view(catalog)
    commit(tmp_path, "copy.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    catalog.load_all(str(tmp_path))
    assert view(catalog)[0] == before[0]
    assert catalog.job("job") == {"done": 1, "failed": 0}


def test_bookkeeping_and_files_being_written_are_no_results(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    commit(tmp_path / "_raysift" / "jobs", "ledger.parquet", row("s3://b/ledger"))
    for name in ("_b.parquet", ".c.parquet", "d.parquet.tmp"):
        commit(tmp_path, name, row(f"s3://b/{name}"))
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(tmp_path)) == 1
    assert catalog.load_all(str(tmp_path / "not there")) == 0


def test_other_peoples_parquet_is_refused_and_the_rest_is_loaded(tmp_path):
    commit(tmp_path, "b.parquet", row("s3://b/a"))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more PAR1")
    catalog = Catalog(":memory:")
    with pytest.raises(SettingsError, match=r"a\.parquet holds no results .* Move it"):
        catalog.load((tmp_path / "a.parquet").as_uri())
    with pytest.raises(SettingsError, match=r"c\.parquet cannot be read"):
        catalog.load((tmp_path / "c.parquet").as_uri())
    assert catalog.load_all(str(tmp_path)) == 1


def test_a_file_whose_merge_fails_leaves_nothing_behind(tmp_path):
    good = commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    text = pa.schema([("width", pa.string())])
    table = pq.read_table(tmp_path / "a.parquet")
    at = table.schema.get_field_index("width")
    pq.write_table(table.set_column(at, text.field("width"), pa.array(["wide"])), tmp_path / "b.parquet")
    catalog = Catalog(":memory:")
    with pytest.raises(Exception, match="wide"):
        catalog.load((tmp_path / "b.parquet").as_uri())
    assert catalog.assets(AssetQuery())["total"] == 0
    assert catalog.job("job") == {"done": 0, "failed": 0}
    assert catalog.load(good) == 1
    assert catalog.facets(AssetQuery())["detectors"] == [{"detector": "nsfw", "label": "nude", "count": 1}]


def test_a_catalogue_that_is_killed_goes_on_where_it_was(tmp_path):
    for n in range(30):
        commit(tmp_path / "out", f"{n:02}.parquet", row(f"s3://b/{n}", found("nsfw", "nude", 0.5), unit=n))
    program = (
        "import sys\nfrom pathlib import Path\nfrom cluster.results import files\n"
        "from deployments.catalog.catalog import Catalog\n"
        "catalog = Catalog(Path(sys.argv[1]))\n"
        "for file in files.committed(sys.argv[2]):\n    catalog.load(file)\n    print(file, flush=True)\n"
    )
    where = (str(tmp_path / "state" / "catalog.duckdb"), str(tmp_path / "out"))
    child = subprocess.Popen([sys.executable, "-c", program, *where], stdout=subprocess.PIPE, cwd=ROOT)
    for _ in range(5):
        assert child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    catalog = Catalog(Path(where[0]))
    assert 5 <= catalog.job("job")["done"] <= 30
    catalog.load_all(where[1])
    assert catalog.job("job") == {"done": 30, "failed": 0}
    assert catalog.facets(AssetQuery())["detectors"] == [{"detector": "nsfw", "label": "nude", "count": 30}]
    assert [len(line["detections"]) for line in catalog.lines()] == [1] * 30
    catalog.close()


def test_a_second_owner_is_told_so(tmp_path):
    catalog = Catalog(tmp_path / "catalog.duckdb")
    program = (
        "import sys; from pathlib import Path; from deployments.catalog.catalog import Catalog; "
        "Catalog(Path(sys.argv[1]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "catalog.duckdb")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    catalog.close()
    assert "SettingsError: the catalogue" in child.stderr
    assert "If no other process has it open, delete it" in child.stderr


def test_what_does_not_open_says_what_to_do(tmp_path):
    (tmp_path / "catalog.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="delete it; it is built anew"):
        Catalog(tmp_path / "catalog.duckdb")


def test_answers_while_it_is_filled(tmp_path):
    for n in range(20):
        commit(tmp_path, f"{n}.parquet", *(row(f"s3://b/{n}/{m}", found("a", "b", 0.5), unit=m) for m in range(20)))
    catalog = Catalog(":memory:")
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            page = catalog.assets(AssetQuery(label=("b",)))
            assert page["total"] % 20 == 0
            assert len(page["items"]) == min(60, page["total"])

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for n in range(20):
            catalog.load((tmp_path / f"{n}.parquet").as_uri())
        stop.set()
        for one in asking:
            one.result()
    assert catalog.assets(AssetQuery())["total"] == 400


def test_no_statement_reaches_the_disk():
    catalog = Catalog(":memory:")
    with pytest.raises(Exception, match="file system operations are disabled"):
        catalog._database.rows("select * from read_text('/etc/hostname')")


def test_the_catalogue_of_a_new_head_catches_up_with_the_results(tmp_path):
    commit(tmp_path / "out", "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2))
    catalog = Catalog(tmp_path / "catalog.duckdb", of=(tmp_path / "out").as_uri())
    deadline = time.monotonic() + 20
    while catalog.job("job")["done"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert catalog.load_all(str(tmp_path / "out")) == 0
    catalog.close()
