"""Pages and facets of made-up files under every combination of filters, against counts in plain Python."""

import random
from itertools import product
from typing import Any

import pytest

from cluster.api_queries import AssetQuery
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

DETECTORS, LABELS, KINDS = ("clip", "face", "ocr"), ("a", "b"), ("image", "video", "audio")


@pytest.fixture(scope="module")
def files() -> list[dict[str, Any]]:
    """Sixty rows of files with up to six detections each."""
    pick = random.Random(8)

    def made(n: int) -> dict[str, Any]:
        findings = [
            found(detector, label, pick.randrange(1, 100) / 100)
            for detector, label in product(DETECTORS, LABELS)
            if pick.random() < 0.4
        ]
        failures = [("decode", "it is broken")] if pick.random() < 0.2 else []
        uri = f"s3://b/{pick.choice('xy')}/{n:02}"
        return row(uri, *findings, kind=pick.choice(KINDS), unit=n, minutes=n, failures=failures)

    return [made(n) for n in range(60)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, files):
    """A catalogue of these files, loaded in two turns."""
    out = tmp_path_factory.mktemp("out")
    catalog = Catalog(":memory:")
    for name, rows in (("1.parquet", files[:40]), ("2.parquet", files[40:])):
        catalog.load(commit(out, name, *rows))
    yield catalog
    catalog.close()


def matching(file: dict[str, Any], query: AssetQuery) -> list[dict[str, Any]]:
    """The detections of a file that a query asks for."""
    return [
        one
        for one in file["detections"]
        if (not query.detector or one["detector"] in query.detector)
        and (not query.label or one["label"] in query.label)
        and (not query.detector_label or f"{one['detector']}:{one['label']}" in query.detector_label)
        and (query.min_score is None or one["score"] >= query.min_score - 1e-6)
    ]


def chosen(files: list[dict[str, Any]], query: AssetQuery) -> list[dict[str, Any]]:
    """The files that a query asks for."""
    asks = query.detector or query.label or query.detector_label or query.min_score is not None
    return [
        file
        for file in files
        if (not asks or matching(file, query))
        and (not query.kind or file["kind"] in query.kind)
        and (not query.under or file["uri"].startswith(query.under))
        and (query.failed is None or bool(file["errors"]) == query.failed)
    ]


FILTERS = [
    dict(zip(("detector", "label", "detector_label", "min_score", "kind", "under", "failed"), values, strict=True))
    for values in product(
        ((), ("face",), ("clip", "ocr")),
        ((), ("a",)),
        ((), ("face:b",), ("face:b", "ocr:a")),
        (None, 0.5),
        ((), ("image", "audio")),
        ((), ("s3://b/x/",)),
        (None, True),
    )
]


def test_pages_have_the_files_that_pass_the_filters_with_their_best_matching_score(catalog, files):
    for filters in FILTERS:
        query = AssetQuery(**filters, sort="score", size=200)
        expected = {
            file["uri"]: max((round(one["score"], 4) for one in matching(file, query)), default=None)
            for file in chosen(files, query)
        }
        page = catalog.assets(query)
        assert {item["uri"]: item["score"] for item in page["items"]} == expected, filters
        assert page["total"] == len(expected)
        scores = [-1 if item["score"] is None else item["score"] for item in page["items"]]
        assert scores == sorted(scores, reverse=True), filters


def test_facets_count_the_files_under_the_other_filters(catalog, files):
    for filters in FILTERS:
        query = AssetQuery(**filters)
        got = catalog.facets(query)
        assert got["total"] == len(chosen(files, query)), filters
        assert got["failed"] == len(chosen(files, query.model_copy(update={"failed": True}))), filters
        for kind in KINDS:
            one = query.model_copy(update={"kind": (kind,)})
            assert got["kinds"].get(kind, 0) == len(chosen(files, one)), (filters, kind)
        for detector in DETECTORS:
            any_label = {"detector": (detector,), "label": (), "detector_label": ()}
            expected = len(chosen(files, query.model_copy(update=any_label)))
            assert got["found_by"].get(detector, 0) == expected, (filters, detector)


def test_a_forgotten_label_is_gone_from_scores_and_facets_and_the_next_best_takes_its_place(tmp_path):
    catalog = Catalog(":memory:")
    ann, face, text = found("face", "Ann", 0.9), found("face", "face", 0.6), found("ocr", "text", 0.3)
    catalog.load(commit(tmp_path, "1", row("s3://b/1", ann, face, text), row("s3://b/2", ann, unit=1)))
    assert catalog.facets(AssetQuery())["found_by"] == {"face": 2, "ocr": 1}
    assert catalog.forget("face", "Ann") == 2
    assert catalog.facets(AssetQuery())["found_by"] == {"face": 1, "ocr": 1}
    page = catalog.assets(AssetQuery(sort="score"))
    assert [(item["uri"], item["score"]) for item in page["items"]] == [("s3://b/1", 0.6), ("s3://b/2", None)]
    assert catalog.assets(AssetQuery(min_score=0.7))["total"] == 0
