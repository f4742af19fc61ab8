"""People: the watch list, matching of stored rows, clusters of unknown faces, and the purge of one person."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cluster.api_queries import AssetQuery
from cluster.records import Detection, Vector, asset_id
from cluster.results import embeddings, files
from cluster.vectors import Vectors
from deployments.catalog.catalog import Catalog
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import EnrolledPeople, Photo, Rejections, WatchList
from pipelines.people import match, purge
from tests.support.servers.chroma import chroma
from tests.support.stored import commit, found, row

MODEL = "m1"
ANN, BOB = (0.0, 0.0), (1.0, 0.0)


def vector(x, y):
    return (Vector("faces", (x, y)),)


def face(x, y=0.0, box=(0.1, 0.1, 0.2, 0.2), **more):
    return found("face", "face", 0.99, MODEL, box=box, vectors=vector(x, y), **more)


def watching(*photos, rejected=None, most=0.5):
    return WatchList([Photo(*photo) for photo in photos], rejected or {}, most)


def both(**more):
    return watching(("Ann", "a.png", ANN), ("Bob", "b.png", BOB), **more)


def names(watch, *xs):
    return [hit and hit.label for hit in watch.hits([Detection("face", 0.9, vectors=vector(x, 0.0)) for x in xs])]


def test_a_face_is_the_nearest_person_within_the_distance():
    assert names(both(), 0.1, 0.45, 0.6, 1.4, 1.6, -0.6) == ["Ann", "Ann", "Bob", "Bob", None, None]


def test_a_hit_states_its_photo_and_distance():
    watch = watching(("Ann", "far.png", (0.4, 0.0)), ("Ann", "near.png", ANN))
    (hit,) = watch.hits([Detection("face", 0.9, (0.1, 0.1, 0.2, 0.2), vectors=vector(0.1, 0.0))])
    assert hit == Detection("Ann", 0.9, (0.1, 0.1, 0.2, 0.2), evidence="distance 0.10 to photo near.png")


def test_a_face_without_a_vector_and_an_empty_list_give_no_hit():
    assert both().hits([Detection("face", 0.9)]) == [None]
    assert names(watching(), 0.0) == [None]


def test_a_rejected_face_blocks_the_name_for_faces_nearer_to_it_than_to_the_photos():
    rejected = {"Ann": np.array([(0.3, 0.0)], np.float32)}
    assert names(both(rejected=rejected), 0.3, 0.2, 0.1) == [None, None, "Ann"]
    assert names(both(rejected={"Ann": np.array([(0.6, 0)], np.float32)}), 0.5) == ["Bob"]  # the face may be Bob's


@pytest.fixture
def gallery(tmp_path):
    """A gallery. `embed` gives a picture's width in px / 10 as its vector, and finds no face below 10 px."""
    gallery = Gallery(str(tmp_path / "galleries" / "face"))

    def enrol(name, px):
        Image.new("RGB", (px, 10)).save(tmp_path / f"{px}.png")
        gallery.add(name, tmp_path / f"{px}.png")

    gallery.enrol = enrol
    return gallery


def embed(pixels):
    return [(pixels.shape[1] / 10, 0.0)] if pixels.shape[1] >= 10 else []


def test_the_watch_list_follows_its_gallery_with_one_listing_every_few_seconds(gallery):
    clock, computed = [0.0], []
    gallery.enrol("Ann", 10)
    enrolled = EnrolledPeople(
        gallery.uri, None, MODEL, lambda pixels: computed.append(1) or embed(pixels), 0.5, lambda: clock[0]
    )
    gallery.enrol("Bob", 20)
    gallery.enrol("nobody", 5)
    assert enrolled.watch_list().names == ["Ann"]
    clock[0] = 5.0
    assert enrolled.watch_list().names == ["Ann", "Bob"]  # a photo without a face is left out
    assert len(computed) == 3  # each photo once
    Rejections(gallery.uri).add("Bob", (2.1, 0.0), MODEL)
    Rejections(gallery.uri).add("Bob", (1.9, 0.0), "another model")
    clock[0] = 10.0
    assert names(enrolled.watch_list(), 2.1, 1.9) == [None, "Bob"]
    gallery.remove("Bob")
    clock[0] = 15.0
    assert enrolled.watch_list().names == ["Ann"] and len(computed) == 3


def test_rejected_faces_are_counted_and_removed_by_name(gallery):
    rejections = Rejections(gallery.uri)
    for name, x in (("Ann", 1.0), ("Ann", 1.0), ("Ann", 2.0), ("Bob", 3.0)):
        rejections.add(name, (x, 0.0), MODEL)
    assert rejections.count("Ann") == 2  # the same again is one
    assert rejections.remove("Ann") == 2 and rejections.remove("Ann") == 0
    assert list(rejections.read(MODEL)) == ["Bob"]
    assert gallery.references() == []  # they are no pictures


def current(out):
    return {answer.row["uri"]: [one.detection for one in answer.found] for answer in match.current(str(out))}


def test_the_newest_answer_for_the_newest_content_counts(tmp_path):
    commit(
        tmp_path,
        "1.parquet",
        row("s3://b/a", face(0.0), minutes=0),
        row("s3://b/b", face(0.1), minutes=9),
        row("s3://b/c", face(0.2), minutes=1, etag="old"),
        row("s3://b/d", minutes=1),
    )
    commit(
        tmp_path,
        "2.parquet",
        row("s3://b/a", face(0.9), minutes=1),
        row("s3://b/a", minutes=2, answered=["ocr"]),
        row("s3://b/b", face(0.8), minutes=8),
        row("s3://b/c", minutes=2, answered=["ocr"]),
    )
    seen = {uri: [round(one.vectors[0].values[0], 1) for one in of] for uri, of in current(tmp_path).items()}
    assert seen == {"s3://b/a": [0.9], "s3://b/b": [0.1]}


def labels(out):
    return {uri: [one.label for one in of] for uri, of in current(out).items()}


def test_match_adds_hits_to_stored_rows_and_a_second_match_changes_nothing(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", face(0.1), found("ocr", "text", 0.9)), row("s3://b/b", face(0.5, 1)))
    done = match.match(str(tmp_path), both(), MODEL)
    assert (done.files, dict(done.hits), done.other) == (1, {"Ann": 1}, 0)
    assert labels(tmp_path) == {"s3://b/a": ["face", "Ann"], "s3://b/b": ["face"]}
    assert match.match(str(tmp_path), both(), MODEL).files == 0
    match.match(str(tmp_path), watching(), MODEL)  # nobody is enrolled any more
    assert labels(tmp_path) == {"s3://b/a": ["face"], "s3://b/b": ["face"]}


def test_match_ignores_rows_of_another_model(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", face(0.1)))
    done = match.match(str(tmp_path), both(), "m2")
    assert (done.files, done.other) == (0, 1) and len(files.committed(str(tmp_path))) == 1


def test_a_propagated_face_keeps_the_name_of_the_frame_that_was_analysed(tmp_path):
    again = replace(
        face(0.0, time_s=1.0), propagated=True, detection=Detection("face", 0.99, (0.1, 0.1, 0.2, 0.2), 1.0)
    )
    elsewhere = replace(again, detection=replace(again.detection, box=(0.5, 0.5, 0.6, 0.6)))
    commit(tmp_path, "1.parquet", row("s3://b/v", face(0.1, time_s=0.0), again, elsewhere, kind="video"))
    match.match(str(tmp_path), both(), MODEL)
    (seen,) = current(tmp_path).values()
    assert [(one.label, one.time_s) for one in seen] == [
        ("face", 0.0), ("Ann", 0.0), ("face", 1.0), ("Ann", 1.0), ("face", 1.0)
    ]  # fmt: skip


def test_a_row_of_match_is_newer_than_the_one_it_replaces_and_older_than_a_later_scan(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", face(0.1), failures=[("clip", "no memory")]))
    match.match(str(tmp_path), both(), MODEL)
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    (item,) = catalog.assets(AssetQuery(label=("Ann",)))["items"]
    assert item["errors"] == [{"step": "clip", "reason": "no memory"}]  # earlier errors are kept
    commit(tmp_path, "3.parquet", row("s3://b/a", minutes=1, answered=["face"]))
    assert labels(tmp_path) == {"s3://b/a": []}


def test_faces_of_a_film_are_matched_by_segment_and_it_counts_as_one_file(tmp_path):
    parts = [row("s3://b/film", face(0.1, time_s=60.0 * n), kind="video", segment=(n, 3, 60.0), unit=n) for n in (0, 1)]
    commit(tmp_path, "1.parquet", *parts, row("s3://b/film", face(0.0), etag="old", minutes=-1))
    done = match.match(str(tmp_path), both(), MODEL)
    assert (done.files, dict(done.hits)) == (1, {"Ann": 1})
    told = {answer.row["segment"]: [one.detection.label for one in answer.found]
            for answer in match.current(str(tmp_path))}  # fmt: skip
    assert told == {0: ["face", "Ann"], 1: ["face", "Ann"]}
    rows = [row for table in files.scan(str(tmp_path), ["job", "segments", "segment_s", "model_versions"])
            for row in table.to_pylist()]  # fmt: skip
    (one, _) = [row for row in rows if row["job"].startswith("people-")]
    assert (one["segments"], one["segment_s"]) == (3, 60.0)
    assert one["model_versions"] == [{"detector": "face", "model": MODEL, "floor": None}]
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    (item,) = catalog.assets(AssetQuery(label=("Ann",)))["items"]
    assert item["segments"] == {"done": 2, "of": 3}
    assert {name[:6]: of["done"] for name, of in catalog.jobs().items()} == {"job": 3, "people": 2}


def test_answers_for_another_cut_do_not_count(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/film", face(0.1), segment=(0, 2, 60.0)))
    commit(tmp_path, "2.parquet", row("s3://b/film", face(0.2), segment=(3, 4, 30.0), minutes=1))
    (answer,) = match.current(str(tmp_path))
    assert (answer.row["segment"], answer.row["segments"]) == (3, 4)


def purged(out, watch):
    person = purge.find("Ann", out, watch, MODEL)
    return person, purge.remove("Ann", out, person.vectors)


class TestPurge:
    @pytest.fixture
    def out(self, tmp_path):
        """Ann alone and beside Bob, also in superseded rows; and a face of Ann without a hit."""
        out, box = tmp_path / "results", (0.6, 0.6, 0.7, 0.7)
        ann = found("face", "Ann", 0.9, MODEL, box=(0.1, 0.1, 0.2, 0.2), evidence="distance 0.10 to photo a.png")
        commit(out, "1.parquet", row("s3://b/alone", face(0.1)), row("s3://b/both", face(0.2), face(0.9, box=box)))
        commit(out, "2.parquet", row("s3://b/alone", face(0.1), ann, minutes=1), row("s3://b/later", face(0.3)))
        commit(
            out, "3.parquet", row("s3://b/bob", face(1.0)), row("s3://b/text", found("ocr", "text", 1.0, text="Ann"))
        )
        return out

    def test_purge_removes_hits_and_vectors_and_nothing_else(self, out):
        untouched = (out / "3.parquet").read_bytes()
        person, done = purged(str(out), both())
        assert (done.hits, done.faces, done.files) == (1, 4, 2)
        assert set(person.files) == {"s3://b/alone", "s3://b/both", "s3://b/later"}
        assert (out / "3.parquet").read_bytes() == untouched
        assert sorted(file.name for file in out.iterdir()) == ["1.parquet", "2.parquet", "3.parquet"]
        seen = current(out)
        assert seen["s3://b/alone"] == [Detection("face", pytest.approx(0.99), pytest.approx((0.1, 0.1, 0.2, 0.2)),
                                                  evidence=purge.REMOVED)]  # fmt: skip
        assert [len(one.vectors) for one in seen["s3://b/both"]] == [0, 1]
        assert purge.left("Ann", str(out), person.vectors) == 0
        assert purge.left("Bob", str(out), {np.float32([1.0, 0.0]).tobytes()}) == 1

    def test_without_photos_all_faces_equal_to_a_hit_are_removed(self, out):
        person, done = purged(str(out), watching())
        assert (done.hits, done.faces, set(person.files)) == (1, 2, {"s3://b/alone"})
        _, again = purged(str(out), watching())
        assert (again.hits, again.faces, again.files) == (0, 0, 0)

    def test_a_film_is_purged_in_all_its_segments_and_keeps_its_cut(self, tmp_path):
        parts = [row("s3://b/film", face(0.1), segment=(n, 2, 60.0), unit=n) for n in (0, 1)]
        commit(tmp_path, "1.parquet", *parts)
        person, done = purged(str(tmp_path), both())
        assert (done.faces, done.files, set(person.files)) == (2, 1, {"s3://b/film"})
        assert [answer.row["segment"] for answer in match.current(str(tmp_path))] == [0, 1]

    @pytest.mark.ray
    def test_search_catalogue_and_result_files_have_no_trace_after_a_purge(self, out, tmp_path):
        with chroma(tmp_path / "chroma") as server:
            vectors = Vectors(server.url)
            for file in files.committed(str(out)):
                vectors.upsert(files.read(file, embeddings.COLUMNS))
            catalog = Catalog(tmp_path / "catalog.duckdb")
            catalog.load_all(str(out))
            assert vectors.search("faces", ANN, 1)[0].asset == asset_id("s3://b/alone")
            person, _ = purged(str(out), both())
            assert purge.forget(person, str(out), vectors) == purge.Searched(removed=3, left=0)
            near = {hit.asset: hit.score for hit in vectors.search("faces", ANN, 10)}
            assert near == {asset_id("s3://b/both"): pytest.approx(0.1), asset_id("s3://b/bob"): 0.0}
            assert catalog.forget("face", "Ann") == 1 and catalog.forget("face", "Ann") == 0
            assert catalog.assets(AssetQuery(label=("Ann",)))["total"] == 0
            catalog.close()
        holding = [file.name for file in out.iterdir() if b"Ann" in file.read_bytes()]
        assert holding == ["3.parquet"]  # the name was read there as text
        assert not any(b"photo a.png" in file.read_bytes() for file in out.iterdir())
        rebuilt = Catalog(":memory:")
        rebuilt.load_all(str(out))
        assert rebuilt.assets(AssetQuery(detector=("face",)))["total"] == 4
        assert rebuilt.assets(AssetQuery(label=("Ann",)))["total"] == 0
