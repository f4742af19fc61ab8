"""The search for many byte strings at once."""

import numpy as np

from pipelines.erasure.needles import PIECE, WINDOW, Needles, pieces, spellings


def needles(*uris):
    made = Needles()
    made.add_files(uris)
    return made


def kinds(made, data):
    return [kind for kind, _, _ in made.spans(data)]


def test_pieces_are_found_at_every_place_also_where_two_windows_meet():
    vectors = [np.random.default_rng(n).standard_normal(128).astype(np.float32).tobytes() for n in range(50)]
    made = Needles()
    for vector in vectors:
        made.add("vectors", pieces(vector))
    noise = np.random.default_rng(99).integers(0, 256, 2 * WINDOW + 1000, np.uint8)
    for begin in (0, 1, 777, WINDOW - 30, WINDOW - 4, 2 * WINDOW + 3, len(noise) - 512):
        data = noise.copy()
        data[begin : begin + 512] = np.frombuffer(vectors[7], np.uint8)
        assert kinds(made, data.tobytes()) == ["vectors"] * 3, begin
    assert kinds(made, noise.tobytes()) == []


def test_a_vector_that_is_stored_in_two_parts_is_found():
    vector = np.random.default_rng(1).standard_normal(512).astype(np.float32).tobytes()
    made = Needles()
    made.add("vectors", pieces(vector))
    assert kinds(made, vector[:1000] + b"page" + vector[1000:])


def test_a_monotonous_vector_has_no_pieces_that_would_be_found_by_chance():
    assert pieces(bytes(2048)) == set() and pieces(b"short") == set()
    assert all(len(piece) == PIECE for piece in pieces(bytes(range(256))))


def test_an_address_is_not_found_in_a_longer_one():
    made = needles("s3://b/a.jpg")
    assert kinds(made, b'"s3://b/a.jpg"') == ["addresses"]
    assert kinds(made, b"s3://b/a.jpg could not be read. See s3://b/a.jpg.") == ["addresses"] * 2
    for other in (b"s3://b/a.jpg/c", b"s3://b/a.jpg2", b"s3://b/a.jpg.txt", b"s3://b/a.jpg-1", b"xs3://b/a.jpg"):
        assert kinds(made, other) == []


def test_addresses_are_found_as_paths_and_in_json():
    assert spellings("file:///data/a%20b.jpg") == {b"file:///data/a%20b.jpg", b"/data/a b.jpg"}
    assert kinds(needles("s3://b/\u00e9.jpg"), b'{"uri": "s3://b/\\u00e9.jpg"}') == ["addresses"]


def test_a_sentence_keeps_all_but_the_addresses():
    made = needles("s3://b/a.jpg", "s3://b/c.zip", "s3://b/c.zip!in/d.jpg")
    assert made.without("s3://b/a.jpg and s3://b/c.zip!in/d.jpg; s3://b/e.jpg") == "[erased] and [erased]; s3://b/e.jpg"
    assert made.without("nothing of it") == "nothing of it"


def test_everything_in_a_folder_is_found_and_nothing_beside_it():
    made = Needles()
    made.add_files(["s3://b/case-7/a b.jpg"], ["s3://b/case-7"])
    text = "s3://b/case-7: s3://b/case-7/a b.jpg, (s3://b/case-7/x/y.png) and s3://b/case-77/z.png"
    assert made.without(text) == "s3://b/case-7: [erased], ([erased]) and s3://b/case-77/z.png"


def test_an_address_is_not_found_in_that_of_a_member_or_of_a_file_that_stays():
    assert kinds(needles("s3://b/c.zip"), b'"s3://b/c.zip!in/d.jpg"') == []
    made = Needles()
    made.add_files(["s3://b/c.zip", "file:///data/name"], longer=["s3://b/c.zip (2).zip", "file:///data/name%20f.jpg"])
    text = "s3://b/c.zip (2).zip, s3://b/c.zip (3), /data/name f.jpg and /data/name: s3://b/c.zip"
    assert made.without(text) == "s3://b/c.zip (2).zip, [erased] (3), /data/name f.jpg and [erased]: [erased]"
