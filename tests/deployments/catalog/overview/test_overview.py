"""The overview of made-up files against counts in plain Python."""

import random
from collections import Counter
from datetime import date
from itertools import product
from typing import Any

import pytest

from cluster import records
from cluster.api_queries import AssetQuery
from cluster.cases.overview import BINS, Overview, OverviewQuery
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

DAY_MIN = 24 * 60
LABELS = tuple(f"label {n}" for n in range(12))


@pytest.fixture(scope="module")
def files() -> list[dict[str, Any]]:
    """Eighty rows of files of three days, each file with up to ten detections."""
    pick = random.Random(3)

    def made(n: int) -> dict[str, Any]:
        scores = {pair: pick.randrange(0, 101) / 100 for pair in product(("clip", "ocr"), LABELS)}
        findings = [found(*pair, score) for pair, score in scores.items() if pick.random() < 0.2]
        failures = [("decode", f"it ends after {n} of {n + 5} bytes")] if n % 4 == 0 else []
        failures += [("fetch", f"s3://b/{n} is gone")] if n % 10 == 0 else []
        kind = pick.choice(("image", "video", None))
        uri = f"s3://b/{'xy'[n % 2]}/{n}"
        return row(uri, *findings, unit=n, minutes=n % 3 * DAY_MIN, kind=kind, failures=failures)

    return [made(n) for n in range(80)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, files):
    """A catalogue of these files."""
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path_factory.mktemp("out"), "1.parquet", *files))
    yield catalog
    catalog.close()


def summary(catalog: Catalog, within: tuple[str, ...] | None = None, **filters: Any) -> Overview:
    return Overview(**catalog.overview(OverviewQuery(**filters), within))


@pytest.mark.parametrize("filters", [{}, {"under": ("s3://b/x/",)}, {"detector": ("ocr",), "min_score": 0.8}])
def test_files_are_counted_by_kind_outcome_and_day(catalog, files, filters):
    chosen = [
        file
        for file in files
        if file["uri"].startswith(filters.get("under", "s3://"))
        and (
            "detector" not in filters
            or any(one["detector"] == "ocr" and one["score"] >= 0.8 for one in file["detections"])
        )
    ]
    got = summary(catalog, **filters)
    assert (got.total, got.failed) == (len(chosen), sum(bool(file["errors"]) for file in chosen))
    assert got.kinds == Counter(file["kind"] for file in chosen if file["kind"])
    days = Counter(file["analyzed_at"].date() for file in chosen)
    failed = Counter(file["analyzed_at"].date() for file in chosen if file["errors"])
    assert [(day.day, day.files, day.failed) for day in got.days] == [
        (day, days[day], failed[day]) for day in sorted(days)
    ]
    assert got.days[0].day == date(2026, 11, 22)


def test_labels_are_counted_from_the_score_on_and_the_commonest_are_named(catalog, files):
    for detector in summary(catalog, least_score=0.6).detectors:
        counts = Counter(
            label
            for file in files
            for label in {
                one["label"]
                for one in file["detections"]
                if one["detector"] == detector.detector and one["score"] >= 0.6
            }
        )
        expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        assert [(label.label, label.files) for label in detector.top_labels] == expected[:10]
        assert detector.labels == len(counts)


def test_a_histogram_has_each_file_once_by_its_best_score(catalog, files):
    detectors = summary(catalog, least_score=0.6).detectors
    assert [detector.detector for detector in detectors] == ["clip", "ocr"]
    for detector in detectors:
        best = [
            max(scores)
            for file in files
            if (scores := [one["score"] for one in file["detections"] if one["detector"] == detector.detector])
        ]
        bins = Counter(min(BINS - 1, int(score * 100) * BINS // 100) for score in (round(one, 2) for one in best))
        assert sum(detector.scores) == len(best)
        assert detector.files == sum(score >= 0.6 for score in best)
        assert detector.scores[-1] == bins[BINS - 1]


def test_failures_are_grouped_by_their_reasons(catalog):
    got = summary(catalog)
    assert [(group.step, group.reason, group.count) for group in got.failures] == [
        ("decode", "it ends after N of N bytes", 20),
        ("fetch", "… is gone", 8),
    ]
    assert got.other_failures == 0
    assert catalog.asset(got.failures[1].example)["errors"][-1]["step"] == "fetch"


def test_failures_of_rare_reasons_are_counted_together(tmp_path):
    catalog = Catalog(":memory:")
    reasons = [f"reason {chr(ord('a') + n // 26)}{chr(ord('a') + n % 26)}" for n in range(40)]
    rows = [row(f"s3://b/{n}", unit=n, failures=[("decode", reason)]) for n, reason in enumerate(reasons)]
    catalog.load(commit(tmp_path, "1.parquet", *rows))
    got = summary(catalog)
    assert (len(got.failures), got.other_failures) == (30, 10)
    catalog.close()


def test_a_limited_caller_gets_an_overview_of_the_own_folders(catalog, files):
    assert summary(catalog, within=("s3://b/x",)).total == sum(file["uri"].startswith("s3://b/x/") for file in files)
    nothing = summary(catalog, within=())
    assert (nothing.total, nothing.detectors, nothing.days, nothing.failures) == (0, (), (), ())


def test_files_without_detections_have_no_findings_in_it(catalog, files):
    nothing = summary(catalog, where=("!:",))
    assert nothing.total == sum(not file["detections"] for file in files) and nothing.detectors == ()


def test_a_list_that_is_held_at_an_unseen_file_is_empty(catalog, files):
    seen, unseen = (records.asset_id(next(f["uri"] for f in files if f"/{x}/" in f["uri"])) for x in "xy")
    assert summary(catalog, within=("s3://b/x",), upto=seen).total > 0
    assert summary(catalog, within=("s3://b/x",), upto=unseen).total == 0


def test_the_counts_are_those_of_the_pages_that_they_lead_to(catalog):
    for detector in summary(catalog, least_score=0.35).detectors:
        pages = catalog.assets(AssetQuery(detector=(detector.detector,), min_score=0.35))
        assert pages["total"] == detector.files
        for label in detector.top_labels:
            pair = (f"{detector.detector}:{label.label}",)
            assert catalog.assets(AssetQuery(detector_label=pair, min_score=0.35))["total"] == label.files
        for bin in range(BINS):
            pages = catalog.assets(AssetQuery(detector=(detector.detector,), min_score=bin / BINS))
            assert pages["total"] == sum(detector.scores[bin:]), bin
