"""Search behind the API: which vectors are compared, and the messages for failed searches. All stand-ins."""

import asyncio
from itertools import chain
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from cluster.access.pictures import MOST_SEARCHED
from cluster.api_queries import AssetFilter
from cluster.chroma.neighbours import Hit, Neighbours
from cluster.records import Detection, Failure, Finding, MediaItem, Result, Vector, asset_id
from deployments.api.searches import near
from deployments.api.searches.near import Scope
from deployments.api.searches.search import EVERYTHING, By, Search, Shown
from deployments.detector import DetectorResponse
from deployments.detectors.clip import ClipConfig
from deployments.detectors.face import FaceConfig

ONE_SPACE = {"clip": ClipConfig(backend="gpu"), "face": FaceConfig()}
WORDS_APART = {"clip": ClipConfig(), "face": FaceConfig()}
SHOWN, READ, SAID = (asset_id(name) for name in ("shown", "read", "said"))


class Detectors:
    """Gives every text the same vector, or fails."""

    def __init__(self, failure: Failure | None = None):
        self.failure = failure

    async def ask(self, names, samples):
        (sample,) = samples
        found = Detection("text", 1.0, text=sample.text, vectors=(Vector("text", (1.0, 0.0)),))
        return {name: DetectorResponse([self.failure or [found]]) for name in names}


class Catalog:
    """The handle: `.text_search.remote(...)`."""

    def __init__(self, *literal):
        self.literal = list(literal)
        self.text_search = self

    async def remote(self, words, limit, query, within):
        return [
            {"asset": asset, "detector": "ocr", "text": words, "time_s": None, "score": 0.9} for asset in self.literal
        ]


class Vectors:
    """Neighbours by space, the same for every vector unless they are given for its first value; `most` at a time."""

    def __init__(self, near=None, own=(), most=5000):
        self.near, self.own, self.most, self.asked = near or {}, list(own), most, []

    def neighbours(self, space, vectors, limit, least=0.0, accepts=lambda hit: True):
        self.asked += [(space, tuple(vector), limit) for vector in vectors]
        hits = self._hits(space, vectors)
        shown = [hit for hit in hits if hit.score >= least and accepts(hit)]
        return Neighbours(shown[: min(limit, self.most)], len(shown) <= min(limit, self.most), len(hits))

    def compared(self, space, vectors, among, least=0.0, accepts=lambda hit: True):
        hits = [hit for hit in self._hits(space, vectors) if hit.asset in among]
        return Neighbours([hit for hit in hits if hit.score >= least and accepts(hit)], True, len(hits))

    def _hits(self, space, vectors):
        near = chain.from_iterable(self.near.get((space, vector[0]), self.near.get(space, [])) for vector in vectors)
        best = {}
        for hit in sorted(near, key=lambda hit: -hit.score):
            best.setdefault(hit.asset, hit)
        return list(best.values())

    def of_asset(self, space, asset):
        return self.own


def hit(asset, score, detector="clip"):
    return Hit(asset, score, detector, "x", text="a cat" if detector != "clip" else None, time_s=2.0)


def words(vectors, configs=WORDS_APART, catalog=None, failure=None, limit=10):
    return asyncio.run(Search(Detectors(failure), catalog or Catalog(), vectors, configs).words("a dog", limit)).hits


def near_own(searching, by, limit, scope=EVERYTHING):
    async def search():
        return await searching.by_picture(await searching.of_file(asset_id("own"), by), limit, scope)

    return asyncio.run(search())


def like(vectors, by="image", limit=10, configs=WORDS_APART):
    return near_own(Search(Detectors(), Catalog(), vectors, configs), by, limit).hits


def upload(vectors, by, *found, kind="image", failures=()):
    item = MediaItem("mine", 1, "", kind)
    result = Result(item, findings=tuple(Finding("face", "m", one) for one in found), failures=failures)
    searching = Search(Detectors(), Catalog(), vectors, WORDS_APART)
    return asyncio.run(searching.by_picture(Shown(by, searching.vectors_of(result, by)), 10)).hits


def refusal(ask):
    with pytest.raises(HTTPException) as refused:
        ask()
    return refused.value.status_code, refused.value.detail


def test_exact_words_come_first_then_hits_of_similar_meaning_above_the_least_score():
    near = {"text": [hit(READ, 0.6, "ocr"), hit(SAID, 0.55, "whisper"), hit(SHOWN, 0.36), hit(asset_id("far"), 0.34)]}
    found = words(Vectors(near), catalog=Catalog(READ))
    assert [(one["asset"], one["matched"]) for one in found] == [
        (READ, "exact text"),
        (SAID, "speech"),
        (SHOWN, "picture"),
    ]
    assert (found[1]["score"], found[1]["time_s"]) == (0.55, 2.0)


def test_pictures_are_searched_separately_where_texts_are_nearer_to_words_than_pictures():
    near = {
        "text": [hit(READ, 0.9, "ocr"), hit(SAID, 0.8, "whisper"), hit(SHOWN, 0.1), hit(asset_id("far"), 0.6, "ocr")],
        "image": [hit(SHOWN, 0.1), hit(READ, 0.08), hit(asset_id("dark"), 0.01)],
    }
    found = words(Vectors(near), ONE_SPACE)
    assert [(one["asset"], one["matched"]) for one in found] == [
        (SHOWN, "picture"),
        (READ, "text"),
        (SAID, "speech"),
    ]


def test_a_video_is_searched_by_a_few_of_its_frames_and_does_not_find_itself():
    vectors = Vectors({"image": [hit(asset_id("own"), 1.0), hit(SHOWN, 0.7)]}, own=[(float(n),) for n in range(16)])
    found = like(vectors)
    assert [(one["asset"], one["matched"]) for one in found] == [(SHOWN, "image")]
    assert [vector for _, vector, _ in vectors.asked] == [(0.0,), (4.0,), (8.0,), (12.0,)]


def test_every_face_of_a_file_is_searched_and_other_people_are_left_out():
    near = {
        ("faces", 1.0): [hit(SHOWN, 0.55, "face"), hit(READ, 0.4, "face")],
        ("faces", 2.0): [hit(SAID, 0.8, "face")],
    }
    found = like(Vectors(near, own=[(1.0,), (2.0,)]), "faces")
    assert [(one["asset"], one["score"], one["matched"]) for one in found] == [
        (SAID, 0.8, "face"),
        (SHOWN, 0.55, "face"),
    ]


def test_a_file_found_by_two_faces_is_one_hit_with_the_nearer():
    near = {("faces", 1.0): [hit(SHOWN, 0.6, "face")], ("faces", 2.0): [hit(SHOWN, 0.9, "face")]}
    assert [one["score"] for one in like(Vectors(near, own=[(1.0,), (2.0,)]), "faces")] == [0.9]


def test_an_upload_is_searched_by_its_image_or_by_its_faces():
    look, face = Detection("x", 1.0, vectors=(Vector("image", (1.0,)),)), Vector("faces", (2.0,))
    vectors = Vectors({"image": [hit(SHOWN, 0.7)], "faces": [hit(SAID, 0.9, "face")]})
    assert [one["asset"] for one in upload(vectors, "image", look)] == [SHOWN]
    assert [one["asset"] for one in upload(vectors, "faces", Detection("face", 1.0, vectors=(face,)))] == [SAID]


def test_a_failed_search_has_a_message():
    full = Vectors({"image": [hit(SHOWN, 0.7)], "faces": [hit(SAID, 0.9)], "text": [hit(READ, 0.9)]})
    blurred = Detection("face", 0.9)
    failed = (Failure("decode", "the file ends early"),)
    for status, said, ask in (
        (422, "there is no face in that picture", lambda: upload(full, "faces")),
        (422, "large and clear enough", lambda: upload(full, "faces", blurred)),
        (422, "gives no image vectors", lambda: upload(full, "image", blurred)),
        (422, "that is a file of video", lambda: upload(full, "image", kind="video")),
        (422, "the file ends early", lambda: upload(full, "image", failures=failed)),
        (404, "that file has no image vector", lambda: like(full)),
        (404, "that file has no face", lambda: like(full, "faces")),
        (404, "nothing is indexed yet", lambda: like(Vectors(own=[(1.0,)]))),
        (404, "nothing is indexed yet", lambda: words(Vectors())),
        (422, "detectors.face.enabled", lambda: like(full, "faces", configs={"clip": ClipConfig()})),
        (422, "detectors.face.enabled", lambda: Search(Detectors(), Catalog(), full, {}).maker("faces")),
        (422, "detectors.clip.enabled", lambda: Search(Detectors(), Catalog(), full, {}).maker("image")),
    ):
        code, detail = refusal(ask)
        assert (code, said in detail) == (status, True), detail


@pytest.mark.parametrize(("asked", "space"), [("image", "image"), ("looks", "image"), ("faces", "faces")])
def test_former_names_of_a_space_in_a_url_mean_the_current_space(asked, space):
    app = FastAPI()

    @app.get("/")
    def echo(by: By = "image") -> str:
        return by

    client = TestClient(app)
    assert client.get("/", params={"by": asked}).json() == space
    assert client.get("/", params={"by": "words"}).status_code == 422


def test_exact_words_are_found_before_anything_is_indexed():
    assert [one["matched"] for one in words(Vectors(), catalog=Catalog(READ))] == ["exact text"]


class Filtered(Catalog):
    """A catalogue in which only these files pass the filters."""

    def __init__(self, *ids):
        super().__init__()
        self.passing_ids = [asset_id(id) for id in ids]
        self.ids = SimpleNamespace(remote=self._ids)
        self.passing = SimpleNamespace(remote=self._passing)

    async def _ids(self, query, most, within):
        return self.passing_ids[:most]

    async def _passing(self, ids, query, within):
        return set(self.passing_ids) & set(ids)


SCOPES = [Scope(within=("s3://b/case-1",)), Scope(AssetFilter(where=("face:",)))]
NEAR = [hit(asset_id(f"hidden {n}"), 0.9 - n / 1000) for n in range(100)]
NEAR += [hit(asset_id("mine"), 0.7), hit(asset_id("mine too"), 0.6), hit(asset_id("unlike"), 0.49)]


def alike(catalog, scope, limit, vectors=None):
    searching = Search(Detectors(), catalog, vectors or Vectors({"image": NEAR}, own=[(1.0,)]), WORDS_APART)
    return near_own(searching, "image", limit, scope)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("most_named", [0, 100])
def test_files_that_do_not_pass_do_not_take_the_place_of_others(monkeypatch, scope, most_named):
    monkeypatch.setattr(near, "MOST_NAMED", most_named)
    for limit, expected in ((1, ["mine"]), (10, ["mine", "mine too"])):
        found = alike(Filtered("mine", "mine too", "unlike"), scope, limit)
        assert [one["asset"] for one in found.hits] == [asset_id(name) for name in expected]
        assert found.notes == []
    nothing = alike(Filtered(), scope, 10)
    assert (nothing.hits, nothing.notes) == ([], [])


def test_a_search_that_has_not_looked_at_all_files_that_pass_says_so(monkeypatch):
    monkeypatch.setattr(near, "MOST_NAMED", 0)
    monkeypatch.setattr(near, "MOST_FETCHED", 50)
    found = alike(Filtered("hidden 3", "mine"), SCOPES[1], 10, Vectors({"image": NEAR}, own=[(1.0,)], most=50))
    assert [one["asset"] for one in found.hits] == [asset_id("hidden 3")]
    assert "Narrow the filters" in found.notes[0]


def test_the_filters_apply_to_exact_words_and_to_similar_ones_together():
    asked = []

    class Asked(Filtered):
        async def remote(self, words, limit, query, within):
            asked.append((query, within))
            return []

    query = AssetFilter(where=("face:",))
    vectors = Vectors({"text": [hit(SHOWN, 0.6), hit(READ, 0.9, "ocr")]})
    searching = Search(Detectors(), Asked("shown"), vectors, WORDS_APART)
    found = asyncio.run(searching.words("a dog", 10, Scope(query, ("s3://b",))))
    assert [one["asset"] for one in found.hits] == [SHOWN] and asked == [(query, ("s3://b",))]


def test_texts_without_a_word_are_similar_to_nothing_and_nothing_to_them():
    def read(text):
        return Hit(asset_id(text), 0.9, "ocr", "text", text)

    near = Vectors({"text": [read(text) for text in ("●", "*x K", "0006", "lo1", "exit", "香港", "甲")]})
    assert [one["text"] for one in words(near)] == ["exit", "香港"]
    assert words(near, catalog=Catalog(READ), limit=10)[0]["matched"] == "exact text"
    only_exact = asyncio.run(Search(Detectors(), Catalog(READ), near, WORDS_APART).words("42", 10))
    assert ([one["asset"] for one in only_exact.hits], only_exact.notes) == ([READ], [])


def test_a_short_text_has_to_be_more_similar_than_a_longer_one():
    def read(text):
        return Hit(asset_id(text), 0.47, "ocr", "text", text)

    near = Vectors({"text": [read("the gate is open"), read("open gate")]})
    assert [one["text"] for one in words(near)] == ["the gate is open"]


def test_exact_and_similar_hits_do_not_take_each_others_places():
    near = Vectors({"text": [hit(asset_id(f"seen {n}"), 0.9) for n in range(9)]})
    found = words(near, catalog=Catalog(*(asset_id(f"read {n}") for n in range(3))), limit=3)
    assert [one["matched"] for one in found] == ["exact text"] * 3 + ["picture"] * 3


def test_a_crowd_is_searched_by_its_largest_faces():
    crowd = [
        Detection("face", 1.0, (0.0, 0.0, n / 100, n / 100), vectors=(Vector("faces", (float(n),)),)) for n in range(80)
    ]
    result = Result(MediaItem("mine", 1, "", "image"), findings=tuple(Finding("face", "m", one) for one in crowd))
    chosen = Search(Detectors(), Catalog(), Vectors(), WORDS_APART).vectors_of(result, "faces")
    assert chosen == tuple((float(n),) for n in range(79, 79 - MOST_SEARCHED, -1))
