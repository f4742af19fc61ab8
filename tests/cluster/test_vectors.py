"""Vectors in a real Chroma server: written, searched, superseded, renamed; and an unreachable server."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest

from cluster.chroma import neighbours
from cluster.chroma.client import SHIFTS
from cluster.chroma.neighbours import Hit
from cluster.records import Vector, asset_id
from cluster.results import files as results_files
from cluster.results.codec import SCHEMA
from cluster.results.embeddings import COLUMNS
from cluster.results.newest import newest_answers, newest_contents
from cluster.vectors import Vectors, VectorsDown
from tests.support.servers.chroma import chroma, free_port
from tests.support.stored import commit, found, row


def rows(*some):
    return pa.Table.from_pylist(list(some), schema=SCHEMA).select(COLUMNS)


def answers(table):
    return newest_answers(table, newest_contents(table))


def unit(seed, length=8):
    values = np.random.default_rng(seed).normal(size=length)
    return tuple(float(v) for v in (values / np.linalg.norm(values)).astype(np.float32))


def look(seed, label="cat", length=8, **more):
    return found("clip", label, 1.0, vectors=(Vector("image", unit(seed, length)),), **more)


def stored(values):
    """Compares equal to a vector of length 1 as stored, shifted by a thousandth: see chroma.shifted."""
    return pytest.approx(values, abs=SHIFTS["cosine"], rel=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with chroma(tmp_path_factory.mktemp("chroma") / "store") as running:
        yield running


@pytest.fixture
def vectors(server):
    """A client of the one server, its collections emptied."""
    made = Vectors(server.url)
    made._chroma.ask(lambda client: [client.delete_collection(found.name) for found in client.list_collections()])
    return made


def film(segment, *findings, **more):
    return row("s3://b/film", *findings, kind="video", segment=segment, **more)


def test_an_unreachable_server_raises_vectors_down():
    vectors = Vectors(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(VectorsDown, match=r"the vector store at http://127.0.0.1:\d+ does not answer"):
        vectors.search("image", unit(0), 5)


@pytest.mark.ray
def test_rows_that_are_written_twice_are_stored_once(vectors):
    table = rows(*(row(f"s3://b/{n}", look(n), look(1000 + n)) for n in range(50)))
    assert vectors.upsert(table) == 100
    assert vectors.upsert(table) == 100
    assert vectors.count("image") == 100


@pytest.mark.ray
def test_sampled_files_find_themselves(vectors):
    count = 3000
    vectors.upsert(rows(*(row(f"s3://b/{n}", look(n)) for n in range(count))))
    for n in random.Random(0).sample(range(count), 40):
        asset = asset_id(f"s3://b/{n}")
        (own,) = vectors.of_asset("image", asset)
        assert vectors.search("image", own, 1)[0].asset == asset


@pytest.mark.ray
def test_a_file_is_one_hit_by_its_nearest_vector(vectors):
    frames = [look(n, time_s=float(n)) for n in range(300)]
    vectors.upsert(rows(row("s3://b/video", *frames), row("s3://b/image", look(5000)), row("s3://b/third", look(5001))))
    hits = vectors.search("image", unit(7), 3)
    assert {hit.asset for hit in hits} == {asset_id(f"s3://b/{name}") for name in ("video", "image", "third")}
    assert hits[0] == Hit(asset_id("s3://b/video"), 1.0, "clip", "cat", None, 7.0)


@pytest.mark.ray
def test_text_has_cosine_and_faces_have_euclidean_distance(vectors):
    rest = (0.0,) * 382  # as long as real ones, so that the shift of a stored vector is lost in rounding
    said = found("whisper", "speech", 1.0, text="hello", span=(1.0, 2.0), vectors=(Vector("text", (3.0, 0.0, *rest)),))
    seen = found("face", "face", 1.0, vectors=(Vector("faces", (0.0, 0.0)),))
    vectors.upsert(rows(row("s3://b/a", said, seen)))
    (word,) = vectors.search("text", (1.0, 1.0, *rest), 5)
    assert (word.score, word.text, word.time_s) == (pytest.approx(math.sqrt(0.5), abs=1e-4), "hello", 1.0)
    (face,) = vectors.search("faces", (0.3, 0.4), 5)
    assert face.score == pytest.approx(0.5, abs=1e-4)
    (far,) = vectors.search("faces", (3.0, 4.0), 5)
    assert far.score == 0.0


@pytest.mark.ray
def test_an_empty_store_finds_nothing(vectors):
    assert vectors.search("image", unit(0), 5) == []
    assert vectors.of_asset("faces", asset_id("s3://b/a")) == []
    assert vectors.count("text") == 0
    assert vectors.indexed(["a"]) == set()


@pytest.mark.ray
def test_a_newer_answer_replaces_an_older_one_and_an_older_one_is_ignored(vectors):
    first = rows(row("s3://b/a", look(1), look(2), look(3)), row("s3://b/b", look(4)))
    second = rows(row("s3://b/a", look(5), minutes=1))
    vectors.upsert(first)
    vectors.upsert(second)
    assert vectors.of_asset("image", asset_id("s3://b/a")) == [stored(unit(5))]
    vectors.upsert(first)
    assert vectors.count("image") == 2
    vectors.upsert(rows(row("s3://b/a", answered=("clip",), minutes=2)))
    assert vectors.of_asset("image", asset_id("s3://b/a")) == []
    assert vectors.count("image") == 1


@pytest.mark.ray
def test_another_detectors_answer_does_not_change_the_vectors(vectors):
    vectors.upsert(rows(row("s3://b/a", look(1))))
    vectors.upsert(rows(row("s3://b/a", answered=("ocr",), minutes=1)))
    assert vectors.count("image") == 1


@pytest.mark.ray
def test_a_new_models_vectors_of_another_length_replace_the_old_ones(vectors):
    vectors.upsert(rows(row("s3://b/a", look(1, length=8)), row("s3://b/b", look(2, length=8))))
    vectors.upsert(rows(row("s3://b/a", look(1, length=12), minutes=1)))
    assert vectors.count("image") == 2
    assert len(vectors.of_asset("image", asset_id("s3://b/a"))[0]) == 12
    assert [hit.asset for hit in vectors.search("image", unit(1, 8), 5)] == [asset_id("s3://b/b")]


@pytest.mark.ray
def test_a_long_video_is_represented_by_a_few_of_its_frames(vectors):
    vectors.upsert(rows(row("s3://b/video", *(look(n, time_s=float(n)) for n in range(100)))))
    frames = vectors.of_asset("image", asset_id("s3://b/video"))
    assert len(frames) == 16
    assert frames[0] == stored(unit(0))
    assert frames[8] == stored(unit(50))


@pytest.mark.ray
def test_segments_that_are_indexed_in_any_order_represent_the_file_in_theirs(vectors):
    asset = asset_id("s3://b/film")
    for n in (10, 2, 0):
        vectors.upsert(rows(film((n, 11, 60.0), look(n), look(100 + n))))
    assert vectors.of_asset("image", asset) == [stored(unit(n)) for n in (0, 100, 2, 102, 10, 110)]
    vectors.upsert(rows(film((2, 11, 60.0), look(5), minutes=1)))  # a newer answer for one segment
    vectors.upsert(rows(film((2, 11, 60.0), look(2), look(102))))
    assert vectors.of_asset("image", asset) == [stored(unit(n)) for n in (0, 100, 5, 10, 110)]


@pytest.mark.ray
def test_vectors_of_a_superseded_cut_or_content_are_deleted_and_not_written_again(vectors):
    asset = asset_id("s3://b/film")
    old = rows(*(film((n, 2, 60.0), look(n), found("ocr", "text", 1.0)) for n in (0, 1)), row("s3://b/a", look(9)))
    vectors.upsert(old)
    vectors.upsert(rows(film((0, 4, 30.0), look(20), minutes=1)))
    assert vectors.of_asset("image", asset) == [stored(unit(20))]
    vectors.upsert(old)
    assert vectors.of_asset("image", asset) == [stored(unit(20))]
    vectors.upsert(rows(film((1, 4, 30.0), look(21), minutes=0)))  # of the same cut, although earlier
    assert vectors.of_asset("image", asset) == [stored(unit(20)), stored(unit(21))]
    vectors.upsert(rows(row("s3://b/film", etag="e2", minutes=2, answered=("ocr",))))
    assert vectors.of_asset("image", asset) == []
    assert vectors.count("image") == 1


@pytest.mark.ray
def test_vectors_without_a_content_hash_are_kept_until_they_are_superseded(vectors):
    vectors.upsert(rows(row("s3://b/a", look(1)), row("s3://b/a", found("face", "face", 1.0, vectors=(
        Vector("faces", (1.0, 2.0)),)))))  # fmt: skip
    for name in vectors._chroma.names():
        (id,), (of,) = (vectors._chroma.call(name, "get", include=["metadatas"])[key] for key in ("ids", "metadatas"))
        vectors._chroma.call(name, "update", ids=[id], metadatas=[{**of, "content": None}])
    vectors.upsert(rows(row("s3://b/a", look(2), minutes=1)))
    assert vectors.of_asset("image", asset_id("s3://b/a")) == [stored(unit(2))]
    assert vectors.count("faces") == 1


@pytest.mark.ray
def test_stored_ids_the_distance_to_the_nearest_vector_and_drop(vectors):
    vectors.upsert(rows(row("s3://b/a", look(1)), row("s3://b/b", look(2))))
    vectors.mark(["file:///out/1.parquet"])
    ids = [f"{asset_id('s3://b/a')}:clip:0", "missing"]
    assert vectors.there("image-8", ids) == {ids[0]}
    assert vectors.there("image-9", ids) == set()
    assert vectors.nearest("image-8", unit(1)) == pytest.approx(0, abs=1e-6)
    assert vectors.nearest("image-8", unit(3)) > 0.1
    assert vectors.nearest("image-9", unit(1, 9)) == math.inf
    vectors.drop()
    assert vectors.count("image") == 0
    assert vectors.indexed(["file:///out/1.parquet"]) == set()


@pytest.mark.ray
def test_records_are_read_by_their_ids_with_the_key_of_their_answer(vectors):
    faces = [found("face", "face", 0.9, vectors=(Vector("faces", unit(seed)),)) for seed in (1, 2)]
    vectors.upsert(rows(row("s3://b/a", look(3), *faces), film((2, 3, 60.0), faces[0], job="j", unit=7)))
    a, b = (asset_id(f"s3://b/{name}") for name in ("a", "film"))
    records = vectors.records("faces", [f"{a}:face:2", f"{b}:face:2:0", f"{b}:face:0", "nothing"])
    keys = {id.partition(":")[2]: key[1:] for id, (key, _) in records.items()}
    assert keys == {"face:2": ("job", 0), "face:2:0": ("j", 7)}
    assert records[f"{a}:face:2"][1] == pytest.approx(unit(2), abs=1e-4)
    assert vectors.records("faces", []) == {}


def test_marked_files_are_indexed(vectors, tmp_path):
    files = [f"file:///out/{n}.parquet" for n in range(5)]
    vectors.mark(files[:3])
    vectors.mark(files[:3])
    assert vectors.indexed(files) == set(files[:3])


@pytest.mark.ray
def test_indexes_a_committed_file(vectors, tmp_path):
    file = commit(tmp_path, "a.parquet", row("s3://b/a", look(1)), row("s3://b/b"))
    assert vectors.upsert(results_files.read(file, COLUMNS)) == 1


@pytest.mark.ray
def test_a_killed_server_raises_vectors_down_and_a_restarted_one_has_all_vectors(tmp_path):
    port = free_port()
    vectors = Vectors(f"http://127.0.0.1:{port}")
    table = rows(*(row(f"s3://b/{n}", look(n)) for n in range(20)))
    with chroma(tmp_path / "store", port) as server:
        vectors.upsert(table)
        server.kill()
        for call in (
            lambda: vectors.search("image", unit(3), 1),
            lambda: vectors.upsert(table),
            lambda: vectors.of_asset("image", asset_id("s3://b/3")),
        ):
            with pytest.raises(VectorsDown, match="does not answer"):
                call()
    with chroma(tmp_path / "store", port):
        assert vectors.search("image", unit(3), 1)[0].asset == asset_id("s3://b/3")
        assert vectors.count("image") == 20


@pytest.mark.ray
def test_collections_with_former_names_are_renamed_with_their_vectors(server, vectors):
    vectors.upsert(rows(row("s3://b/a", look(1)), row("s3://b/b", look(2))))
    vectors._chroma.ask(lambda client: client.get_collection("image-8", embedding_function=None).modify(name="looks-8"))
    after = Vectors(server.url)
    assert after.count("image") == 2
    assert after.search("image", unit(1), 1)[0].asset == asset_id("s3://b/a")
    assert after.of_asset("image", asset_id("s3://b/b")) == [stored(unit(2))]
    assert "looks-8" not in after._chroma.names()


@pytest.mark.ray
def test_a_former_collection_beside_a_current_one_does_not_stop_the_client(server, vectors):
    vectors.upsert(rows(row("s3://b/a", look(1))))
    vectors._chroma.ask(lambda client: client.create_collection("looks-8", embedding_function=None))
    assert Vectors(server.url).search("image", unit(1), 1)[0].asset == asset_id("s3://b/a")


@pytest.mark.ray
def test_all_vectors_of_named_files_are_compared_and_none_of_others(vectors, monkeypatch):
    film = row("s3://b/film", *(look(n, time_s=float(n)) for n in range(5)))
    vectors.upsert(rows(film, *(row(f"s3://b/{n}", look(100 + n)) for n in range(50))))
    among = [asset_id("s3://b/film"), asset_id("s3://b/7"), asset_id("s3://b/unknown")]
    compared = vectors.compared("image", [unit(3), unit(107)], among)
    assert compared is not None and (compared.compared, compared.is_whole) == (6, True)
    assert [(hit.asset, hit.score, hit.time_s) for hit in compared.hits] == [
        (among[0], 1.0, 3.0),
        (among[1], 1.0, None),
    ]
    everything = {hit.asset: hit for hit in vectors.neighbours("image", [unit(3), unit(107)], 51).hits}
    assert {asset: everything[asset] for asset in among[:2]} == {hit.asset: hit for hit in compared.hits}
    assert [hit.asset for hit in vectors.compared("image", [unit(3)], among, 0.9).hits] == [among[0]]
    assert vectors.compared("image", [unit(3)], among[2:]).hits == []
    assert vectors.compared("image", [unit(3, 9)], among).hits == [], "no vector of that length is stored"
    monkeypatch.setattr(neighbours, "MOST_FLOATS", 40)
    assert vectors.compared("image", [unit(3)], among) is None


@pytest.mark.ray
def test_neighbours_below_the_least_score_or_not_accepted_are_left_out(vectors):
    vectors.upsert(rows(*(row(f"s3://b/{n}", look(n, label="dog" if n % 2 else "cat")) for n in range(300))))
    dogs = vectors.neighbours("image", [unit(8)], 20, 0.3, lambda hit: hit.label == "dog")
    assert len(dogs.hits) >= 20 and {hit.label for hit in dogs.hits} == {"dog"} and dogs.hits[-1].score >= 0.3
    few = vectors.neighbours("image", [unit(8)], 20, 0.95)
    assert [hit.asset for hit in few.hits] == [asset_id("s3://b/8")] and few.is_whole and few.compared < 300
