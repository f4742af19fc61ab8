"""Words with a picture: one ranking of two, and what is left of it when a part fails."""

import asyncio

from cluster.records import asset_id
from deployments.api.searches.fusion import BOTH, fused
from deployments.api.searches.search import Search, Shown
from tests.deployments.api.searches.test_search import WORDS_APART, Catalog, Detectors, Vectors, hit
from tests.deployments.api.searches.test_search_parts import Away

FIRST, SECOND, BOTH_FAR, READ = (asset_id(name) for name in ("first", "second", "both", "read"))


def ranked(*assets, matched="image", **more):
    return [{"asset": asset, "score": 0.5, "matched": matched, "text": None, **more} for asset in assets]


def test_a_file_in_both_rankings_is_before_the_first_of_either():
    pictures = ranked("a", "b", "both", time_s=3.0)
    words = ranked("c", "d", "e", "both", matched="text", time_s=7.0) + ranked("f", matched="speech")
    words[3]["text"] = "a gate"
    both, *others = fused([pictures, words])
    assert (both["asset"], both["matched"], both["text"], both["time_s"]) == ("both", BOTH, "a gate", 3.0)
    assert [(hit["asset"], hit["matched"]) for hit in others[:2]] == [("a", "image"), ("c", "text")]
    assert [hit["score"] for hit in fused([ranked("a"), ranked("a")])] == [1.0]
    assert both["score"] > others[0]["score"] == 0.5 and others[-1]["score"] > 0
    assert fused([[], []]) == []


def found(vectors, catalog=None, limit=10):
    searching = Search(Detectors(), catalog or Catalog(), vectors, WORDS_APART)
    shown = Shown("image", ((1.0,),), asset_id("own"))
    return asyncio.run(searching.words_with("a dog", shown, limit))


def test_exact_words_are_first_and_the_file_itself_is_not_found():
    near = {
        "image": [hit(asset_id("own"), 1.0), hit(FIRST, 0.9), hit(READ, 0.8), hit(BOTH_FAR, 0.6)],
        "text": [hit(asset_id("own"), 0.9, "ocr"), hit(SECOND, 0.8, "ocr"), hit(BOTH_FAR, 0.5, "ocr")],
    }
    hits = found(Vectors(near), Catalog(READ)).hits
    assert [(one["asset"], one["matched"]) for one in hits] == [
        (READ, "exact text"),
        (BOTH_FAR, BOTH),
        (FIRST, "image"),
        (SECOND, "text"),
    ]
    assert [one["matched"] for one in found(Vectors(near), Catalog(READ), limit=1).hits] == ["exact text", BOTH]


def test_exact_words_are_found_while_no_picture_can_be_compared():
    searched = found(Away(), Catalog(READ))
    assert [one["asset"] for one in searched.hits] == [READ]
    assert {note.split(":")[0] for note in searched.notes} == {"by meaning", "by the picture"}
