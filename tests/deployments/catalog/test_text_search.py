"""Search for words in recognised text, speech, and file names."""

import pytest

from cluster.api_queries import AssetFilter
from cluster.errors import SettingsError
from cluster.records import asset_id
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row


def test_finds_words_in_lines_speech_and_names_ignoring_case(catalog):
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


def test_words_are_matched_literally(catalog):
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


def test_a_word_is_found_in_glued_text_and_in_the_payload_of_a_code(tmp_path):
    commit(
        tmp_path,
        "a.parquet",
        row("s3://b/1", found("ocr", "text", 0.9, text="Keepthisgateshut"), unit=1),
        row("s3://b/2", found("barcode", "QRCode", 1.0, text="https://example.org/gate?id=7"), unit=2),
    )
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    assert [hit["detector"] for hit in catalog.text_search("gate")] == ["barcode", "ocr"]
    assert [hit["text"] for hit in catalog.text_search("this")] == ["Keepthisgateshut"]


def test_words_are_searched_in_files_that_pass_filters(catalog):
    one, film = asset_id("s3://b/x/one.jpg"), asset_id("s3://b/y/three.mp4")

    def found_in(**filters):
        return [hit["asset"] for hit in catalog.text_search("total", 40, AssetFilter(**filters))]

    assert set(found_in()) == {one, film}
    assert found_in(kind=("video",)) == [film]
    assert found_in(where=("nsfw:nude>=0.8",)) == [one]
    assert found_in(detector_label=("nsfw:nude",), min_score=0.5, where=("!kind=image", "whisper:~due")) == [film]
    assert found_in(id=(one,)) == [one] and found_in(job=("nobody",)) == []
    assert catalog.text_search("total", 1, AssetFilter(kind=("video",)))[0]["asset"] == film
    assert set(catalog.ids(AssetFilter(), 9)) > {one, film} and len(catalog.ids(AssetFilter(), 2)) == 2
    assert catalog.passing([one, film, "0" * 32], AssetFilter(kind=("video",))) == {film}
    assert catalog.passing([one, film], AssetFilter(id=(one,))) == {one} and catalog.passing([], AssetFilter()) == set()
    with pytest.raises(SettingsError, match="upto"):
        found_in(upto="0" * 32)
