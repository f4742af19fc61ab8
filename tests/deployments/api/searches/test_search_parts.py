"""Search by words while a part of it is unavailable: the rest is searched, and a note gives the reason."""

import asyncio
import re
import time

import pytest
from fastapi import HTTPException
from ray.exceptions import RayActorError

from cluster.records import Detection, Failure, asset_id
from cluster.vectors import Vectors, VectorsDown
from deployments.api.searches import near, search
from deployments.api.searches.search import Search
from deployments.detector import DetectorResponse
from deployments.detectors.clip import ClipConfig
from deployments.detectors.face import FaceConfig
from tests.deployments.api.searches import test_search as stand_in
from tests.support.servers.chroma import free_port, silent

CONFIGS = {"clip": ClipConfig(), "face": FaceConfig()}
READ, SHOWN = asset_id("read"), asset_id("shown")
NEAR = stand_in.Vectors({"text": [stand_in.hit(SHOWN, 0.6)]})


class Answering:
    """A detector clip, or a catalogue, that returns this answer, raises it, or hangs (None)."""

    def __init__(self, answer):
        self.answer = answer
        self.text_search = self

    async def remote(self, words, limit, query, within):
        return await self.ask((), ())

    async def ask(self, names, samples):
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Away(stand_in.Vectors):
    def neighbours(self, space, vectors, limit, least, accepts):
        raise VectorsDown("the vector store at http://x does not answer (ConnectError)")


def words(vectors=NEAR, clip=None, catalog=None, configs=CONFIGS):
    searching = Search(clip or stand_in.Detectors(), catalog or stand_in.Catalog(READ), vectors, configs)
    return asyncio.run(searching.words("a dog", 10))


def test_a_complete_search_has_no_note():
    assert words().notes == []
    assert [hit["asset"] for hit in words().hits] == [READ, SHOWN]


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ({"vectors": Away()}, "by meaning: the vector store at http://x does not answer"),
        ({"vectors": stand_in.Vectors()}, "by meaning: nothing is indexed yet"),
        ({"configs": {"face": FaceConfig()}}, "by meaning: .*detectors.clip.enabled switches it off"),
        ({"clip": stand_in.Detectors(Failure("clip", "no answer in 4 attempts"))}, "clip .*no answer in 4 attempts"),
        ({"clip": Answering(RayActorError())}, "by meaning: .*RayActorError"),
        (
            {"clip": Answering({"clip": DetectorResponse([[Detection("text", 1.0)]])})},
            "by meaning: the detector clip, as it is set up here, gives no text vectors",
        ),
    ],
    ids=["store away", "not indexed", "clip disabled", "clip away", "clip dead", "clip without vectors"],
)
def test_exact_words_are_found_without_a_search_by_meaning(missing, note):
    found = words(**missing)
    assert [(hit["asset"], hit["matched"]) for hit in found.hits] == [(READ, "exact text")]
    (only,) = found.notes
    assert re.search(note, only), only


def test_a_late_part_is_left_out(monkeypatch):
    monkeypatch.setattr(search, "MEANING_DEADLINE_S", 0.05)
    found = words(clip=Answering(None))
    assert ([hit["asset"] for hit in found.hits], found.notes) == ([READ], ["by meaning: no answer within 0 s"])


@pytest.mark.parametrize("answer", [None, HTTPException(504, "the catalogue did not answer"), RayActorError()])
def test_hits_of_similar_meaning_are_found_while_the_catalogue_is_slow_or_away(monkeypatch, answer):
    monkeypatch.setattr(search, "CATALOG_DEADLINE_S", 0.05)
    found = words(catalog=Answering(answer))
    assert [hit["asset"] for hit in found.hits] == [SHOWN]
    assert len(found.notes) == 1 and found.notes[0].startswith("exact words: ")


def test_no_exact_hit_is_no_error_while_the_meaning_is_not_searched():
    found = words(vectors=Away(), catalog=stand_in.Catalog())
    assert (found.hits, len(found.notes)) == ([], 1)


def test_without_any_part_search_is_unavailable_with_the_reasons():
    with pytest.raises(HTTPException, match=r"exact words: .*; by meaning: |by meaning: .*; exact words: ") as refused:
        words(vectors=Away(), catalog=Answering(RayActorError()))
    assert refused.value.status_code == 503


def test_exact_words_are_found_while_the_store_refuses_connections():
    found = words(vectors=Vectors(f"http://127.0.0.1:{free_port()}", 5.0))
    assert [hit["asset"] for hit in found.hits] == [READ] and "does not answer" in found.notes[0]


def test_a_store_that_hangs_blocks_neither_the_search_nor_other_threads(monkeypatch):
    import chromadb  # noqa: F401  # the first import takes longer than what is measured here

    monkeypatch.setattr(near, "MOST_UNANSWERED", 30)
    with silent() as url:
        searching = Search(stand_in.Detectors(), stand_in.Catalog(READ), Vectors(url, 1.0), CONFIGS)
        monkeypatch.setattr(near, "STORE_DEADLINE_S", 1.0)

        async def many():
            begun = time.monotonic()
            searches = [asyncio.ensure_future(searching.words("a dog", 10)) for _ in range(40)]
            other = await asyncio.wait_for(asyncio.to_thread(lambda: "read"), 0.8)  # as media and uploads are
            return other, await asyncio.gather(*searches), time.monotonic() - begun

        other, found, seconds = asyncio.run(many())
        refused = sum("questions to answer first" in one.notes[0] for one in found)
        assert other == "read" and refused == 10 and seconds < 3
        assert all([hit["asset"] for hit in one.hits] == [READ] and len(one.notes) == 1 for one in found)
        assert searching.files._threads._max_workers == near.STORE_THREADS  # those that hang are no more than these


def test_a_search_by_similarity_is_refused_when_the_store_is_late(monkeypatch):
    monkeypatch.setattr(near, "STORE_DEADLINE_S", 0.3)
    with silent() as url:
        searching = Search(stand_in.Detectors(), stand_in.Catalog(), Vectors(url, 0.3), CONFIGS)
        with pytest.raises(VectorsDown, match="does not answer"):
            asyncio.run(searching.of_file(asset_id("own"), "image"))
