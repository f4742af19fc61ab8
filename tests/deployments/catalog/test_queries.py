"""Filters of the list of files: several values of each, labels by detector, files of a job, bounds of numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.api_queries import MAX_IDS, MAX_PAGE, MOST_UNDER, MOST_VALUES, AssetQuery
from cluster.errors import SettingsError
from cluster.records import asset_id
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Four files: the label `sign` comes from two detectors; one file failed in two jobs, one in the first only."""
    out: Path = tmp_path_factory.mktemp("out")
    torn = [("decode", "it ends early")]
    commit(
        out,
        "a.parquet",
        row("s3://b/x/a.jpg", found("ocr", "sign", 0.9), job="first", unit=0),
        row("s3://b/y/b.mp4", found("logo", "sign", 0.4), kind="video", job="first", unit=1),
        row("s3://c/c.wav", kind="audio", job="first", unit=2, failures=torn),
        row("s3://c/d.jpg", job="first", unit=3, failures=torn),
    )
    commit(
        out,
        "b.parquet",
        row("s3://c/c.wav", found("ocr", "text", 0.8), kind="audio", job="second", unit=0, minutes=1),
        row("s3://c/d.jpg", job="second", unit=1, minutes=1, failures=torn),
    )
    catalog = Catalog(":memory:")
    catalog.load_all(str(out))
    yield catalog
    catalog.close()


def names(catalog: Catalog, **filters: object) -> list[str]:
    page = catalog.assets(AssetQuery(**filters, sort="name"))
    assert page["total"] == len(page["items"])
    return [item["name"] for item in page["items"]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"kind": ("image", "video")}, ["a.jpg", "b.mp4", "d.jpg"]),
        ({"detector": ("logo", "ocr")}, ["a.jpg", "b.mp4", "c.wav"]),
        ({"label": ("sign", "text")}, ["a.jpg", "b.mp4", "c.wav"]),
        ({"detector_label": ("logo:sign", "ocr:text")}, ["b.mp4", "c.wav"]),
        ({"under": ("s3://b/x/", "s3://c/")}, ["a.jpg", "c.wav", "d.jpg"]),
        ({"job": ("second",)}, ["c.wav", "d.jpg"]),
        ({"job": ("first", "second")}, ["a.jpg", "b.mp4", "c.wav", "d.jpg"]),
        ({"kind": ("image", "video"), "under": ("s3://b/",), "min_score": 0.5}, ["a.jpg"]),
        ({"where": ("ocr:|logo:", "!kind=audio")}, ["a.jpg", "b.mp4"]),
        ({"id": tuple(map(asset_id, ("s3://c/c.wav", "s3://b/x/a.jpg", "s3://c/gone")))}, ["a.jpg", "c.wav"]),
    ],
)
def test_a_filter_with_several_values_matches_any_of_them(catalog, filters, expected):
    assert names(catalog, **filters) == expected


def test_failed_with_a_job_lists_files_that_failed_in_it_even_if_a_later_job_analysed_them(catalog):
    assert names(catalog, failed=True) == ["d.jpg"]
    assert names(catalog, failed=True, job=("first",)) == ["c.wav", "d.jpg"]
    assert names(catalog, failed=True, job=("second",)) == ["d.jpg"]
    assert names(catalog, failed=False, job=("first",)) == ["a.jpg", "b.mp4"]


def test_the_same_label_of_two_detectors_is_counted_and_selected_separately(catalog):
    facets = catalog.facets(AssetQuery(detector_label=("ocr:sign",)))
    signs = [facet for facet in facets["detectors"] if facet["label"] == "sign"]
    assert [(facet["detector"], facet["count"]) for facet in signs] == [("logo", 1), ("ocr", 1)]
    assert facets["total"] == 1
    assert names(catalog, detector_label=("ocr:sign",)) == ["a.jpg"]


def test_facets_of_several_kinds_count_every_kind(catalog):
    facets = catalog.facets(AssetQuery(kind=("image", "video")))
    assert (facets["total"], facets["kinds"]) == (3, {"audio": 1, "image": 2, "video": 1})


def test_a_list_up_to_its_latest_file_does_not_change_while_others_arrive(tmp_path):
    growing = Catalog(":memory:")
    growing.load(commit(tmp_path, "a", row("s3://b/1", found("ocr", "text", 0.5)), row("s3://b/2", unit=1)))
    assert Catalog(":memory:").assets(AssetQuery())["latest"] is None
    before = growing.assets(AssetQuery(sort="newest"))
    upto = before["latest"]
    growing.load(commit(tmp_path, "b", row("s3://a/3", found("ocr", "text", 0.9), unit=2, minutes=5)))
    after = growing.assets(AssetQuery(sort="newest", upto=upto))
    assert (after["items"], after["total"], growing.assets(AssetQuery())["total"]) == (before["items"], 2, 3)
    assert after["latest"] == asset_id("s3://a/3")
    assert growing.facets(AssetQuery(upto=upto))["found_by"] == {"ocr": 1}
    lines, _ = growing.some_lines(0, AssetQuery(upto=upto))
    assert {line["uri"] for line in lines} == {"s3://b/1", "s3://b/2"}
    for query, within in ((AssetQuery(upto=asset_id("s3://b/gone")), None), (AssetQuery(upto=upto), ["s3://a"])):
        for answer in (growing.assets, growing.facets, lambda *given: growing.some_lines(0, *given)):
            with pytest.raises(SettingsError, match="upto: that file is not there"):
                answer(query, within)


def test_the_last_allowed_page_is_empty(catalog):
    page = catalog.assets(AssetQuery(page=MAX_PAGE, size=200))
    assert (page["total"], page["items"]) == (4, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [("page", MAX_PAGE + 1), ("page", 0), ("page", 2**63 - 1), ("size", 201), ("size", 0)]
    + [("min_score", score) for score in (float("nan"), float("inf"), -0.1, 1.1)]
    + [("where", ("face",)), ("where", ("face:",) * 33), ("where", ("face:" + "x" * 1000,)), ("score_of", "face")]
    + [("id", ("no id",)), ("id", (asset_id("x"),) * (MAX_IDS + 1)), ("upto", "no id")]
    + [("under", ("s3://b",) * (MOST_UNDER + 1)), ("label", ("x",) * (MOST_VALUES + 1))]
    + [(field, ("\ud800",)) for field in ("label", "under", "job", "tag")]
    + [("case", "\ud800")]
    + [("kind", ("document",)), ("detector_label", ("no colon",)), ("sort", "sideways")],
)
def test_a_value_out_of_bounds_is_refused(field, value):
    with pytest.raises(ValidationError):
        AssetQuery(**{field: value})
