"""Clusters of faces by their vectors alone."""

import numpy as np

from cluster.records import Vector
from deployments.catalog.people.components import clustered
from tests.deployments.catalog.people.conftest import BOX, People
from tests.support.stored import found, row


def test_ten_people_among_noise_are_ten_clusters():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 128))
    near = centres.repeat(20, axis=0) + rng.normal(0, 0.02, (200, 128))
    vectors = np.concatenate([near, rng.normal(size=(50, 128)), near[:5]]).astype(np.float32)  # copies, too
    found_in = clustered(vectors, 0.5)
    assert [len(set(found_in[n * 20 : n * 20 + 20])) for n in range(10)] == [1] * 10
    assert len(set(found_in[:200])) == 10 and set(found_in[200:250]) == {-1}
    assert list(found_in[250:]) == [found_in[0]] * 5


def test_faces_each_near_the_next_only_are_one_cluster_and_those_of_two_models_are_not_compared(people: People):
    chain = [row(f"s3://b/case-3/{n}.jpg", _face(5.0 + n * 0.3), unit=100 + n) for n in range(4)]
    other_model = [row(f"s3://b/case-3/m{n}.jpg", _face(5.0, "m2"), unit=200 + n) for n in range(3)]
    people.load(*chain, *other_model)
    assert [group.faces for group in people.page().groups] == [7, 4, 3, 3]


def _face(x: float, model: str = "m1"):
    vectors = (Vector("faces", (x, *[0.0] * 127)),)
    return found("face", "face", 0.99, model, box=BOX, vectors=vectors)
