"""Rows of several jobs merged into one answer for each file, in any order of loading."""

import itertools
import random

import pytest

from cluster.api_queries import AssetQuery
from deployments.catalog.catalog import Catalog
from tests.deployments.catalog.contents import answers, expected_detections
from tests.support.stored import commit, found, row


def test_the_order_in_which_files_are_loaded_does_not_matter(tmp_path):
    nsfw, ocr = found("nsfw", "nude", 0.9), found("ocr", "text", 0.8, text="old")
    # s3://b/changed has another content in the third file than in the first
    files = [
        commit(
            tmp_path,
            "1",
            row("s3://b/a", nsfw, ocr, job="1", width=1, height=1, sha256="s", thumbnail=b"1"),
            row("s3://b/changed", nsfw, ocr, job="1", unit=4, sha256="old", thumbnail=b"old"),
        ),
        commit(tmp_path, "2", row("s3://b/a", found("nsfw", "suggestive", 0.5), job="2", minutes=2, width=2)),
        commit(
            tmp_path,
            "3",
            row("s3://b/a", job="3", minutes=3, answered=("logo",), failures=[("whisper", "no")], thumbnail=b"3"),
            row("s3://b/new", found("ocr", "text", 0.1), job="3", unit=1, minutes=3),
            row("s3://b/changed", found("ocr", "text", 0.2), job="2", unit=4, minutes=9, etag="e2"),
        ),
    ]
    answered = []
    for order in itertools.permutations(files):
        catalog = Catalog(":memory:")
        for file in order:
            catalog.load(file)
        answered.append(answers(catalog))
        catalog.close()
    assert all(other == answered[0] for other in answered)

    lines, assets, thumbnails, *_ = answered[0]
    assert [(d["detector"], d["label"]) for d in lines[0]["detections"]] == [("nsfw", "suggestive"), ("ocr", "text")]
    assert (lines[0]["width"], lines[0]["height"], lines[0]["sha256"]) == (2, 1, "s")
    assert lines[0]["errors"] == [{"step": "whisper", "reason": "no"}]
    assert thumbnails[0]["jpeg"] == b"3"
    # of a file whose content changed, only detections in the new content
    assert [(d["detector"], d["score"]) for d in lines[1]["detections"]] == [("ocr", 0.2)]
    assert lines[1]["sha256"] is None and not assets[1]["has_thumbnail"]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(1, 8))])
def test_any_order_of_two_cuts_two_contents_and_three_jobs_gives_the_same_counts(tmp_path, seed):
    chance = random.Random(seed)
    rows = []
    for unit in range(1, 25):
        segments = chance.choice([1, 3, 6])
        findings = [
            found(detector, f"{unit} {n}", chance.random(), text="x" * chance.randrange(9))
            for detector in chance.sample(["clip", "nsfw", "ocr"], chance.randrange(3))
            for n in range(chance.randrange(1, 3))
        ]
        rows.append(
            row(
                f"s3://b/{chance.randrange(2)}",
                *findings,
                job=chance.choice("123") if segments > 1 else f"whole {unit}",  # a job has a whole file once
                unit=unit,
                minutes=chance.randrange(12),
                etag=chance.choice(["e1", "e2"]),
                segment=None if segments == 1 else (chance.randrange(3), segments, 180.0 / segments),
                answered=["logo"] * chance.randrange(2),
                failures=[("decode", str(chance.randrange(3)))] * chance.randrange(2),
                thumbnail=chance.choice([None, str(unit).encode()]),
            )
        )
    answered = []
    for turn in range(3):
        chance.shuffle(rows)
        catalog = Catalog(":memory:")
        waiting = iter(rows)
        for n in itertools.count():  # a merge takes 0.15 s however few its rows are, most of it DuckDB's planning
            if not (part := list(itertools.islice(waiting, chance.randrange(1, 9)))):
                break
            catalog.load(commit(tmp_path, f"{turn} {n}", *part))
        answered.append(answers(catalog))
        catalog.close()
    assert all(other == answered[0] for other in answered)
    lines, _, _, _, jobs, summaries = answered[0]
    pairs = {line["uri"]: [(found["detector"], found["label"]) for found in line["detections"]] for line in lines}
    assert pairs == expected_detections(rows)
    for job, counts in jobs.items():
        job_rows = [row for row in rows if row["job"] == job]
        assert counts == {"done": len(job_rows), "failed": sum(bool(row["errors"]) for row in job_rows)}
        assert summaries[job]["files"] == len({row["uri"] for row in job_rows})


def test_a_detector_that_finds_nothing_now_replaces_its_earlier_findings(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", row("s3://b/a", found("nsfw", "nude", 0.9), found("ocr", "text", 0.9))))
    catalog.load(commit(tmp_path, "2", row("s3://b/a", answered=("nsfw",), minutes=1)))
    assert [facet["detector"] for facet in catalog.facets(AssetQuery())["detectors"]] == ["ocr"]


def test_a_detector_that_failed_keeps_its_older_answer(tmp_path):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "1", row("s3://b/a", found("nsfw", "nude", 0.9))))
    unfinished = row("s3://b/a", found("nsfw", "nude", 0.1), minutes=1) | {"model_versions": []}
    catalog.load(commit(tmp_path, "2", unfinished))
    assert catalog.assets(AssetQuery())["items"][0]["score"] == 0.9
