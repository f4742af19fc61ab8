"""Pages and facets of made-up files under every combination of filters, against counts in plain Python."""

import random
from itertools import product
from typing import Any

import pytest

from cluster.api_queries import AssetQuery
from cluster.filters.conditions import Alternative, Detected, parse
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

DETECTORS, LABELS, KINDS = ("clip", "face", "ocr"), ("a", "b"), ("image", "video", "audio")


@pytest.fixture(scope="module")
def files() -> list[dict[str, Any]]:
    """Sixty rows of files with up to six detections each."""
    pick = random.Random(8)

    def made(n: int) -> dict[str, Any]:
        text = {"ocr": lambda: " ".join(pick.choices(("Exit", "north", "Total due"), k=2))}
        findings = [
            found(detector, label, pick.randrange(1, 100) / 100, text=text.get(detector, lambda: None)())
            for detector, label in product(DETECTORS, LABELS)
            if pick.random() < 0.4
        ]
        failures = [("decode", "it is broken")] if pick.random() < 0.2 else []
        uri = f"s3://b/{pick.choice('xy')}/{n:02}"
        shape = {"width": pick.choice((None, 320, 640)), "duration_s": pick.choice((None, 5.5, 60.0))}
        made = row(uri, *findings, kind=pick.choice(KINDS), unit=n, minutes=n * 60, failures=failures, **shape)
        return made | {"size": pick.randrange(100)}

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


def passes(file: dict[str, Any], text: str) -> bool:
    """Whether a condition of `where` applies to a file."""
    return any(applies(file, alternative) != alternative.negated for alternative in parse(text))


def applies(file: dict[str, Any], alternative: Alternative) -> bool:
    """Whether an alternative, if it were not negated, applies to a file."""
    of = alternative.of
    if isinstance(of, Detected):
        return any(
            one["detector"] in (of.detector or one["detector"])
            and one["label"] in (of.label or one["label"])
            and (of.least is None or one["score"] >= of.least - 1e-6)
            and (of.most is None or one["score"] <= of.most + 1e-6)
            and (of.words is None or of.words in (one["text"] or "").lower())
            for one in file["detections"]
        )
    keys = {"bytes": "size", "under": "uri", "name": "uri", "scanned": "analyzed_at", "duration": "duration_s"}
    value = file.get(keys.get(of.field, of.field))
    if of.field == "error":
        return any(of.value in error["reason"] for error in file["errors"])
    if of.field == "scanned":
        value = value.replace(tzinfo=None)
    if value is None:
        return False
    if of.field == "under":
        return value.startswith(of.value)
    return {
        "=": lambda: value == of.value,
        "~": lambda: of.value in value,
        ">=": lambda: value >= of.value,
        "<=": lambda: value <= of.value,
    }[of.operator]()


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
        and all(passes(file, text) for text in query.where)
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


SINGLE = [
    "face:",
    ":a",
    "face:b",
    "ocr:>=0.5",
    ":>=0.9",
    "ocr:a>=0.3<=0.7",
    ":<=0.2",
    "ocr:~exit NORTH",
    ":b~total due",
]
SINGLE += ["kind=video", "name~7", "under=s3://b/x/", "job=job", "job=another", "error~broken", "error~", "bytes>=50"]
SINGLE += ["bytes<=20", "width>=640", "width<=320", "duration>=5.6", "duration<=5.5", "scanned>=2026-11-24"]
SINGLE += ["scanned<=2026-11-23", "scanned>=2026-11-23T01:00:00Z"]
EACH = [text for single in SINGLE for text in (single, f"!{single}")]
COMBINED = [
    tuple("|".join(pick.choices(EACH, k=pick.randint(1, 3))) for _ in range(pick.randint(1, 3)))
    for pick in map(random.Random, range(20))
]
OTHERS = {"detector_label": ("face:b", "ocr:a"), "kind": ("image", "audio")}


def test_a_condition_chooses_the_files_to_which_it_applies(catalog, files):
    for text in EACH:
        query = AssetQuery(where=(text,), size=200)
        expected = {file["uri"] for file in chosen(files, query)}
        assert {item["uri"] for item in catalog.assets(query)["items"]} == expected, text
        assert 0 < len(expected) < len(files) or "job=" in text


def test_all_conditions_apply_to_a_file_beside_the_other_filters(catalog, files):
    totals = set()
    for n, where in enumerate(COMBINED):
        query = AssetQuery(where=where, **(OTHERS if n % 2 else {}))
        total = catalog.facets(query)["total"]
        assert total == len(chosen(files, query)), where
        totals.add(total)
    assert len(totals) > 5  # the conditions tell files apart


def test_counts_of_labels_are_those_of_the_files_that_pass_all_conditions(catalog, files):
    query = AssetQuery(where=("face:", "!ocr:a>=0.5"))
    passing = chosen(files, query)
    for facet in catalog.facets(query)["detectors"]:
        scores = [
            one["score"]
            for file in passing
            for one in file["detections"]
            if (one["detector"], one["label"]) == (facet["detector"], facet["label"])
        ]
        assert (facet["count"], facet["score"]) == (len(scores), round(max(scores), 4))


def test_files_are_ordered_by_the_score_of_one_label_and_those_without_it_are_last(catalog, files):
    for label in ("ocr:a", "ocr:", ":b"):
        detector, name = label.split(":")
        query = AssetQuery(sort="score", score_of=label, where=("!kind=audio",), size=200)
        expected = {
            file["uri"]: max(
                (
                    round(one["score"], 4)
                    for one in file["detections"]
                    if detector in ("", one["detector"]) and name in ("", one["label"])
                ),
                default=None,
            )
            for file in chosen(files, query)
        }
        items = catalog.assets(query)["items"]
        assert {item["uri"]: item["score"] for item in items} == expected
        scores = [-1 if item["score"] is None else item["score"] for item in items]
        assert scores == sorted(scores, reverse=True) and scores[-1] == -1 < scores[0]


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
