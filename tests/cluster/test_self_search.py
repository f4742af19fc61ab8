"""Every stored vector finds itself while others are written: copies, still frames, rescans. On a real Chroma server."""

import threading

import numpy as np
import pytest

from cluster.chroma.client import shifted
from cluster.records import Vector, asset_id
from cluster.vectors import Vectors
from tests.cluster.test_vectors import rows
from tests.support.servers.chroma import chroma
from tests.support.stored import found, row

COUNT, LENGTH, NEW = 10_000, 96, 1_000
ITSELF = 1e-5  # maximum cosine distance to the own copy; different vectors here are at least 0.01 apart


def collection(seed):
    """(COUNT, LENGTH) vectors like those of images: clusters, a third of them copies, 800 frames of two stills."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(0.4, 1.0, size=(COUNT // 25, LENGTH))
    values = centres[rng.integers(0, len(centres), COUNT)] * rng.lognormal(0, 0.35, size=(COUNT, LENGTH))
    values = np.sqrt(values + rng.gamma(0.2, 0.3, size=(COUNT, LENGTH)))
    order, at = rng.permutation(COUNT), 0
    for size in [500, 300, *([60] * 15), *([10] * 80), *([2] * 500)]:
        values[order[at : at + size]] = values[order[at]]
        at += size
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def table(values, first, minutes=0):
    return rows(
        *(
            row(
                f"s3://b/{first + n}",
                found("clip", "cat", 1.0, vectors=(Vector("image", tuple(value.tolist())),)),
                minutes=minutes,
            )
            for n, value in enumerate(values)
        )
    )


def lost(vectors, values):
    """How many of the values do not find themselves. A search for one neighbour is as exhaustive as one for a page."""
    count = 0
    for at in range(0, len(values), 50):
        query = {"query_embeddings": values[at : at + 50].tolist(), "n_results": 1, "include": ["distances"]}
        nearest = vectors._chroma.call(f"image-{LENGTH}", "query", **query)["distances"]
        count += sum(not distances or distances[0] > ITSELF for distances in nearest)
    return count


def test_equal_vectors_are_shifted_by_less_than_the_precision_of_a_score():
    value = np.ones(1280, np.float32)
    first, second = (shifted(id, value, 1e-3) for id in ("a", "b"))
    assert not np.array_equal(first, second) and np.array_equal(first, shifted("a", value, 1e-3))
    cosine = first @ value / np.linalg.norm(first) / np.linalg.norm(value)
    assert round(float(cosine), 4) == 1.0
    assert np.array_equal(shifted("a", np.zeros(3, np.float32), 1e-3), np.zeros(3))


@pytest.mark.chaos
@pytest.mark.timeout(600)  # takes minutes on a loaded machine
def test_10000_vectors_find_themselves_while_others_are_written(tmp_path):
    values = collection(0)
    with chroma(tmp_path / "store") as server:
        vectors = Vectors(server.url)
        for at in range(0, COUNT, 1000):
            vectors.upsert(table(values[at : at + 1000], at))
        others = [threading.Thread(target=write, args=(server.url, values, place)) for place in range(2)]
        for other in others:
            other.start()
        rescanned = np.zeros(COUNT, bool)
        rescanned[:NEW] = rescanned[5000 : 5000 + NEW] = True  # missing for a moment: deleted, then written again
        assert lost(vectors, values[~rescanned]) == 0
        hits = vectors.search("image", values[7].tolist(), 40)
        assert len(hits) == 40 and hits[0].score == 1.0
        for other in others:
            other.join()
        assert vectors.count("image") == COUNT + 2 * NEW
        assert lost(vectors, values[rescanned]) == 0


def write(url, values, place):
    """Write new files, and a rescan of a tenth of the known ones with their vectors in reverse order."""
    vectors = Vectors(url)
    fresh = collection(1 + place)[:NEW]
    for at in range(0, NEW, 200):
        vectors.upsert(table(fresh[at : at + 200], COUNT + place * NEW + at))
        known = place * 5000 + at
        vectors.upsert(table(values[known : known + 200][::-1], known, minutes=1))


@pytest.mark.ray
def test_stored_rows_are_not_written_again(tmp_path):
    values = collection(0)[:50]
    with chroma(tmp_path / "store") as server:
        vectors = Vectors(server.url)
        vectors.upsert(table(values, 0))
        written = []
        vectors._chroma.upsert = lambda name, distance, ids, *rest: written.extend(ids)
        assert vectors.upsert(table(values, 0)) == 50
        assert written == []
        vectors.upsert(table(values[:1], 0, minutes=1))
        assert written == [f"{asset_id('s3://b/0')}:clip:0"]
