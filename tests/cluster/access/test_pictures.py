"""Pictures that are kept to be searched by again."""

import pytest

from cluster.access import pictures
from cluster.access.pictures import Picture, PictureKeeper

FACE = Picture("faces", ((1.0, 2.0),), "aa")


def test_a_picture_is_its_owners_only():
    keeper = PictureKeeper()
    id = keeper.keep_picture("user:ann", FACE)
    assert keeper.picture("user:ann", id) == FACE
    assert keeper.picture("user:bob", id) is None
    assert keeper.picture("user:ann", "0" * 32) is None


def test_a_picture_is_forgotten_after_its_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "KEPT_S", 0.0)
    keeper = PictureKeeper()
    assert keeper.picture("user:ann", keeper.keep_picture("user:ann", FACE)) is None


def test_the_oldest_picture_makes_room_for_a_new_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "MOST_OF_ONE", 2)
    monkeypatch.setattr(pictures, "MOST", 3)
    keeper = PictureKeeper()
    of_bob = keeper.keep_picture("user:bob", FACE)
    of_ann = [keeper.keep_picture("user:ann", FACE) for _ in range(3)]
    assert [keeper.picture("user:ann", id) is None for id in of_ann] == [True, False, False]
    assert keeper.picture("user:bob", of_bob) == FACE, "another one's pictures stay"
    keeper.keep_picture("user:cem", FACE)
    assert keeper.picture("user:bob", of_bob) is None


def test_all_pictures_together_have_a_bound_of_vectors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "MOST_VECTORS", 5)
    keeper = PictureKeeper()
    crowd = Picture("faces", ((1.0, 2.0),) * 3, "bb")
    first, second, third = (keeper.keep_picture("user:ann", one) for one in (FACE, crowd, crowd))
    assert [keeper.picture("user:ann", id) for id in (first, second, third)] == [None, None, crowd]


def test_pictures_of_faces_do_not_outlive_a_purge():
    keeper = PictureKeeper()
    scene = Picture("image", ((1.0, 2.0),), "cc")
    face, image = (keeper.keep_picture("user:ann", one) for one in (FACE, scene))
    keeper.forget_faces()
    assert (keeper.picture("user:ann", face), keeper.picture("user:ann", image)) == (None, scene)
