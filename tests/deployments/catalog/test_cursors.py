"""Pages by a cursor: every file once in every order, whatever is added meanwhile, as the numbered pages have them."""

import base64
import json
import random
from itertools import chain
from typing import get_args

import pytest
from pydantic import ValidationError

from cluster.api_queries import AssetQuery, Sort
from cluster.errors import SettingsError
from cluster.records import asset_id
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

SORTS = get_args(Sort)
FILTERS = [
    {},
    {"label": ("nude",)},
    {"detector": ("nsfw", "ocr"), "min_score": 0.3},
    {"kind": ("image",)},
    {"job": ("b",)},
]


def some_rows(rng: random.Random, job: str, count: int) -> list[dict]:
    """Rows with equal names, scores, and times, and with none at all."""
    rows = []
    for n in range(count):
        findings = [
            found(detector, label, rng.choice((0.1, 0.3, 0.7, 1 / 3)))
            for detector, label in (("nsfw", "nude"), ("nsfw", "other"), ("ocr", "text"))
            if rng.random() < 0.4
        ]
        name = rng.choice(("a.jpg", "A.jpg", "ä.jpg", "B.jpg", f"{rng.random()}.jpg"))
        kind = rng.choice(("image", "video", None))
        uri = f"s3://b/{job}-{n}/{name}"
        rows.append(row(uri, *findings, unit=n, job=job, minutes=rng.randrange(5), kind=kind))
    return rows


def filled(tmp_path, rng):
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "a.parquet", *some_rows(rng, "a", 24)))
    catalog.load(commit(tmp_path, "b.parquet", *some_rows(rng, "b", 9)))
    return catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """A catalogue of 33 files that nobody changes."""
    catalog = filled(tmp_path_factory.mktemp("results"), random.Random(7))
    yield catalog
    catalog.close()


def pages(catalog, query, within=None):
    """The ids of each page, asked for with `next` of the one before."""
    while True:
        page = catalog.assets(query, within)
        assert len(page["items"]) == query.size or page["next"] is None
        yield [item["id"] for item in page["items"]]
        if page["next"] is None:
            return
        query = AssetQuery(**query.model_dump(exclude={"page", "after"}), after=page["next"])


def walked(catalog, query, within=None):
    return list(chain.from_iterable(pages(catalog, query, within)))


def numbered(catalog, query):
    """The ids of the numbered pages, of which two hold all files."""
    both = [catalog.assets(query.model_copy(update={"page": n, "size": 25})) for n in (1, 2)]
    assert both[1]["next"] is None
    return [item["id"] for page in both for item in page["items"]]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_pages_by_cursor_are_the_numbered_pages(catalog, sort, filters):
    query = AssetQuery(sort=sort, size=5, **filters)
    ids = walked(catalog, query)
    assert ids == numbered(catalog, query)
    assert len(set(ids)) == len(ids) > query.size


def test_every_file_comes_once_in_every_order_while_others_are_added(tmp_path):
    rng = random.Random(8)
    catalog = filled(tmp_path, rng)
    queries = {sort: AssetQuery(sort=sort, size=7) for sort in SORTS}
    before = {sort: numbered(catalog, query) for sort, query in queries.items()}
    walks = {sort: pages(catalog, query) for sort, query in queries.items()}
    ids = {sort: [] for sort in SORTS}
    for n in range(100):
        shown = {sort: next(walk, []) for sort, walk in walks.items()}
        if not any(shown.values()):
            break
        for sort, page in shown.items():
            ids[sort] += page
        if n < 4:
            catalog.load(commit(tmp_path, f"more-{n}.parquet", *some_rows(rng, f"more-{n}", 3)))
    for sort in SORTS:
        assert len(set(ids[sort])) == len(ids[sort]), "none comes twice"
        assert [id for id in ids[sort] if id in before[sort]] == before[sort], "none is missing or out of order"
    assert len(ids["oldest"]) > len(before["oldest"]), "what comes after the place where somebody is, is shown"
    catalog.close()


def test_a_numbered_page_can_be_continued_by_its_cursor(catalog):
    query = AssetQuery(sort="score", size=8)
    third = catalog.assets(query.model_copy(update={"page": 3}))
    assert walked(catalog, AssetQuery(sort="score", size=8, after=third["next"])) == numbered(catalog, query)[24:]


def test_the_last_page_has_no_next_one(catalog):
    assert catalog.assets(AssetQuery(size=33))["next"] is None
    assert catalog.assets(AssetQuery(size=32))["next"] is not None
    assert catalog.assets(AssetQuery(size=11, page=3))["next"] is None
    assert catalog.assets(AssetQuery(label=("no such label",)))["next"] is None


def test_a_caller_who_is_limited_walks_through_the_own_files_only(catalog):
    within = ["s3://b/a-3", "s3://b/a-4", "s3://b/a-5"]
    assert len(walked(catalog, AssetQuery(size=2), within=within)) == 3
    first_of_all = catalog.assets(AssetQuery(size=1))["next"]
    unknown = AssetQuery(after=edited(first_of_all, id=asset_id("s3://nowhere")))
    others = AssetQuery(after=edited(first_of_all, id=asset_id("s3://b/b-0/none")))
    said = set()
    for query in (unknown, others, AssetQuery(after=first_of_all)):
        with pytest.raises(SettingsError, match="is not there any more") as refused:
            catalog.assets(query, ["s3://elsewhere"])
        said.add(str(refused.value))
    assert len(said) == 1, "it says nothing about files of another case"


def edited(cursor, **changes):
    """The cursor with another order, key or id."""
    names = ("sort", "key", "id")
    values = dict(zip(names, json.loads(base64.urlsafe_b64decode(cursor + "==")), strict=True)) | changes
    return base64.urlsafe_b64encode(json.dumps([values[name] for name in names]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "changes",
    [
        {"sort": "sideways"},
        {"sort": "name"},  # with a key
        {"key": -1},
        {"key": 1 << 62},
        {"key": "soon"},
        {"key": None},
        {"id": "1"},
        {"id": "'; drop table files"},
        {"sort": "oldest"},  # of another order than is asked for
    ],
)
def test_a_cursor_that_was_made_up_is_refused(catalog, changes):
    cursor = catalog.assets(AssetQuery(size=1))["next"]
    AssetQuery(after=edited(cursor))
    with pytest.raises(ValidationError):
        AssetQuery(after=edited(cursor, **changes))


@pytest.mark.parametrize("key", ["soon", float("nan"), float("inf"), -1e300, 1e300, 10**400])  # no 32-bit numbers
def test_a_score_that_the_catalogue_cannot_hold_is_refused(catalog, key):
    cursor = catalog.assets(AssetQuery(sort="score", size=1))["next"]
    AssetQuery(sort="score", after=edited(cursor, key=0.5))
    with pytest.raises(ValidationError):
        AssetQuery(sort="score", after=edited(cursor, key=key))


@pytest.mark.parametrize("text", ["", "x", "é", "!!!!", "bnVsbA", "e30", "W10", "A" * 201, "=" * 8])
def test_a_text_that_is_no_cursor_is_refused(text):
    with pytest.raises(ValidationError):
        AssetQuery(after=text)


def test_a_page_has_a_number_or_a_cursor(catalog):
    with pytest.raises(ValidationError, match="without `page`"):
        AssetQuery(page=2, after=catalog.assets(AssetQuery(size=1))["next"])


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("sort", SORTS)
def test_the_neighbours_of_each_file_are_those_of_the_list(catalog: Catalog, sort: str, filters: dict):
    query = AssetQuery(sort=sort, size=3, **filters)
    ids = walked(catalog, query)
    for place, id in enumerate(ids, 1):
        beside = {"previous": ids[place - 2] if place > 1 else None, "next": ids[place] if place < len(ids) else None}
        assert catalog.neighbours(id, query) == {**beside, "place": place, "total": len(ids)}


def test_a_file_that_is_not_in_the_list_has_no_neighbours(catalog: Catalog):
    image, video = (walked(catalog, AssetQuery(kind=(kind,))) for kind in ("image", "video"))
    nowhere = {"previous": None, "next": None, "place": None}
    assert catalog.neighbours(video[0], AssetQuery(kind=("image",))) == {**nowhere, "total": len(image)}
    assert catalog.neighbours("0" * 32, AssetQuery()) == {**nowhere, "total": 33}
    assert catalog.neighbours(image[0], AssetQuery(), within=("s3://elsewhere",)) == {**nowhere, "total": 0}
    one_score = AssetQuery(sort="score", score_of="nsfw:other")
    assert catalog.neighbours(image[0], one_score)["place"] == walked(catalog, one_score).index(image[0]) + 1
