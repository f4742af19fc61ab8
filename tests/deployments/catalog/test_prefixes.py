"""A caller that is limited to prefixes neither sees, finds nor counts any other file."""

from collections.abc import Iterator

import pytest

from cluster.access.identity import Identity
from cluster.api_queries import AssetQuery
from cluster.records import asset_id
from deployments.catalog.catalog import EVERYTHING, Catalog
from tests.support.stored import commit, found, row

URIS = {
    "s3://b/case-1/a.jpg": None,
    "s3://b/case-1/in/b.jpg": None,
    "s3://b/case-1": None,
    "s3://b/case-10/a.jpg": None,
    "s3://b/case-1!c.jpg": None,
    "s3://b/x.zip!in/d.jpg": "s3://b/x.zip",
    "s3://b/case-1/y.zip!e.jpg": "s3://b/case-1/y.zip",
    "file:///data/100%25_a/f.jpg": None,
}
PREFIXES = [None, (), ("s3://b/case-1",), ("s3://b/x.zip", "file:///data/100%25_a"), ("s3://b",), ("s3://b/%",)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Files of two cases and of archives, each with a face, a line of text and a thumbnail."""
    rows = [
        row(
            uri,
            found("face", "face", 0.9, box=(0.1, 0.1, 0.4, 0.5)),
            found("ocr", "text", 0.8, text="exit north"),
            unit=n,
            parent=parent,
            thumbnail=b"jpeg",
        )
        for n, (uri, parent) in enumerate(URIS.items())
    ]
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path_factory.mktemp("results"), "a.parquet", *rows))
    yield catalog
    catalog.close()


@pytest.mark.parametrize("prefixes", PREFIXES)
def test_every_query_sees_the_files_under_the_prefixes_and_no_others(catalog: Catalog, prefixes):
    who = Identity("x", "viewer", prefixes)
    seen = {uri for uri, parent in URIS.items() if who.sees(uri, parent)}
    page, facets = catalog.assets(AssetQuery(), prefixes), catalog.facets(AssetQuery(), prefixes)
    assert {item["uri"] for item in page["items"]} == seen and page["total"] == len(seen)
    assert catalog.assets(AssetQuery(sort="score", detector=("face",)), prefixes)["total"] == len(seen)
    anything = AssetQuery(where=("!kind=video|face:", "!ocr:~harbour"), sort="score", score_of="ocr:")
    assert catalog.assets(anything, prefixes)["total"] == len(seen)
    assert (page["latest"] is None) == (not seen)
    assert page["latest"] is None or page["latest"] in map(asset_id, seen)
    assert facets["total"] == len(seen)
    assert [facet["count"] for facet in facets["detectors"]] == ([len(seen)] * 2 if seen else [])
    assert facets["found_by"] == (dict.fromkeys(("face", "ocr"), len(seen)) if seen else {})
    ids = {asset_id(uri): uri for uri in URIS}
    assert {item["uri"] for item in catalog.items(list(ids), prefixes)} == seen
    assert {ids[id] for id in catalog.passing(list(ids), EVERYTHING, prefixes)} == seen
    assert {ids[hit["asset"]] for hit in catalog.text_search("exit north", 40, EVERYTHING, prefixes)} == seen
    for id, uri in ids.items():
        answers = (catalog.asset(id, prefixes), catalog.location(id, prefixes), catalog.thumbnail(id, prefixes))
        assert [answer is not None for answer in answers] == [uri in seen] * 3


def test_a_query_for_another_case_finds_nothing(catalog: Catalog):
    query = AssetQuery(under=("s3://b/case-10",))
    assert catalog.assets(query)["total"] == 1
    assert catalog.assets(query, ("s3://b/case-1",))["total"] == 0


def test_hits_outside_do_not_take_the_place_of_hits_inside(catalog: Catalog):
    for limit in (1, 2):
        assert len(catalog.text_search("exit", limit, EVERYTHING, ("s3://b/case-10", "s3://b/x.zip"))) == limit
