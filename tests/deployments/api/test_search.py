"""Search behind the API: which vectors are compared, and the messages for failed searches. All stand-ins."""

import asyncio
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from cluster.records import Detection, Failure, Finding, MediaItem, Result, Vector, asset_id
from cluster.vectors import Hit
from deployments.api.search import By, Search
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

    async def remote(self, words, limit, within):
        return [
            {"asset": asset, "detector": "ocr", "text": words, "time_s": None, "score": 0.9} for asset in self.literal
        ]


class Vectors:
    """Neighbours by space, the same for every vector unless they are given for its first value."""

    def __init__(self, near=None, own=()):
        self.near, self.own, self.asked = near or {}, list(own), []

    def search(self, space, vector, limit):
        self.asked.append((space, tuple(vector), limit))
        return self.near.get((space, vector[0]), self.near.get(space, []))[:limit]

    def of_asset(self, space, asset):
        return self.own


def hit(asset, score, detector="clip"):
    return Hit(asset, score, detector, "x", time_s=2.0)


def words(vectors, configs=WORDS_APART, catalog=None, failure=None, limit=10):
    return asyncio.run(Search(Detectors(failure), catalog or Catalog(), vectors, configs).words("a dog", limit)).hits


def like(vectors, by="image", limit=10, configs=WORDS_APART):
    return asyncio.run(Search(Detectors(), Catalog(), vectors, configs).like(asset_id("own"), by, limit)).hits


def upload(vectors, by, *found, kind="image", failures=()):
    item = MediaItem("mine", 1, "", kind)
    result = Result(item, findings=tuple(Finding("face", "m", one) for one in found), failures=failures)
    return asyncio.run(Search(Detectors(), Catalog(), vectors, WORDS_APART).picture(result, by, 10)).hits


def refusal(ask):
    with pytest.raises(HTTPException) as refused:
        ask()
    return refused.value.status_code, refused.value.detail


def test_exact_words_come_first_then_hits_of_similar_meaning_above_the_least_score():
    near = {"text": [hit(READ, 0.6, "ocr"), hit(SAID, 0.5, "whisper"), hit(SHOWN, 0.16), hit(asset_id("far"), 0.14)]}
    found = words(Vectors(near), catalog=Catalog(READ))
    assert [(one["asset"], one["matched"]) for one in found] == [
        (READ, "exact text"),
        (SAID, "speech"),
        (SHOWN, "picture"),
    ]
    assert (found[1]["score"], found[1]["time_s"]) == (0.5, 2.0)


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


class Visible(Catalog):
    """A catalogue whose caller may see only these files."""

    def __init__(self, *ids):
        super().__init__()
        self.visible = SimpleNamespace(remote=self._visible)
        self.ids = {asset_id(id) for id in ids}

    async def _visible(self, ids, within):
        return self.ids & set(ids)


def test_files_that_the_caller_may_not_see_do_not_take_the_place_of_others():
    near = [hit(asset_id(f"hidden {n}"), 0.9 - n / 1000) for n in range(100)]
    near += [hit(asset_id("mine"), 0.7), hit(asset_id("mine too"), 0.6)]
    vectors = Vectors({"image": near}, own=[(1.0,)])
    searching = Search(Detectors(), Visible("mine", "mine too"), vectors, WORDS_APART)
    for limit, expected in ((1, ["mine"]), (10, ["mine", "mine too"])):
        found = asyncio.run(searching.like(asset_id("own"), "image", limit, ("s3://b/case-1",)))
        assert [one["asset"] for one in found.hits] == [asset_id(name) for name in expected]
    nothing = Search(Detectors(), Visible(), vectors, WORDS_APART)
    assert refusal(lambda: asyncio.run(nothing.like(asset_id("own"), "image", 10, ("s3://b/case-1",))).hits)[0] == 404
