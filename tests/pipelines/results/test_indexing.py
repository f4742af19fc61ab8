import logging
import threading

import pytest

from cluster.api_queries import AssetQuery
from cluster.records import Vector, asset_id
from cluster.vectors import Vectors, VectorsDown
from deployments.catalog.catalog import Catalog
from pipelines.results.indexing import Indexing
from tests.support.servers.chroma import chroma, free_port
from tests.support.stored import aged, commit, found, row


class Store:
    """A stand-in for the vector store, which may be unavailable."""

    def __init__(self):
        self.away = False
        self.marked = set()
        self.assets = []

    def indexed(self, files):
        if self.away:
            raise VectorsDown("the vector store does not answer")
        return self.marked & set(files)

    def upsert(self, rows):
        if self.away:
            raise VectorsDown("the vector store does not answer")
        self.assets += [asset_id(uri) for uri in rows["uri"].to_pylist()]
        return len(rows)

    def mark(self, files):
        self.marked |= set(files)


def look(*values):
    return found("clip", "cat", 1.0, vectors=(Vector("image", values),))


def test_new_files_are_loaded_once(tmp_path):
    store, catalog = Store(), Catalog(":memory:")
    indexing = Indexing(str(tmp_path), store, catalog.load_all)
    assert indexing.once() == 0
    commit(tmp_path, "a.parquet", row("s3://b/a"), row("s3://b/b"))
    assert indexing.once() == 0
    commit(tmp_path, "b.parquet", row("s3://b/c"))
    assert indexing.once() == 0
    assert store.assets == [asset_id(f"s3://b/{name}") for name in "abc"]
    assert catalog.assets(AssetQuery())["total"] == 3
    assert Indexing(str(tmp_path), store, catalog.load_all).once() == 0
    assert len(store.assets) == 3


def test_an_unavailable_store_delays_vectors_but_not_the_catalogue(tmp_path, caplog):
    store, catalog = Store(), Catalog(":memory:")
    indexing = Indexing(str(tmp_path), store, catalog.load_all)
    store.away = True
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    with caplog.at_level(logging.WARNING):
        assert indexing.once() == 1
    assert "1 files of results are not searchable yet" in caplog.text
    assert catalog.assets(AssetQuery())["total"] == 1
    store.away = False
    assert indexing.once() == 0
    assert store.assets == [asset_id("s3://b/a")]


def test_foreign_parquet_files_do_not_stop_it(tmp_path):
    store, catalog = Store(), Catalog(":memory:")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more PAR1")
    commit(tmp_path, "b.parquet", row("s3://b/b"))
    assert Indexing(str(tmp_path), store, catalog.load_all).once() == 0
    assert store.assets == [asset_id("s3://b/b")]


def test_a_file_that_is_still_being_copied_is_loaded_when_it_is_complete(tmp_path):
    store, catalog = Store(), Catalog(":memory:")
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    indexing = Indexing(str(tmp_path), store, catalog.load_all)
    indexing.once()
    assert store.assets == [] and catalog.assets(AssetQuery())["total"] == 0
    (tmp_path / "a.parquet").write_bytes(whole)
    indexing.once()
    assert store.assets == [asset_id("s3://b/a")] and catalog.assets(AssetQuery())["total"] == 1


def test_it_follows_until_it_is_stopped_and_then_loads_once_more(tmp_path):
    store, catalog = Store(), Catalog(":memory:")
    stop = threading.Event()
    stop.set()
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    assert Indexing(str(tmp_path), store, catalog.load_all).follow(stop) == 0
    assert catalog.assets(AssetQuery())["total"] == 1


def test_an_unavailable_catalogue_is_tried_again(tmp_path, caplog):
    store, catalog = Store(), Catalog(":memory:")
    stop, tries = threading.Event(), []

    def load(out):
        tries.append(out)
        if len(tries) == 1:
            raise RuntimeError("the replica died")
        stop.set()
        return catalog.load_all(out)

    commit(tmp_path, "a.parquet", row("s3://b/a"))
    assert Indexing(str(tmp_path), store, load, every_s=0.01).follow(stop) == 0
    assert "it is tried again" in caplog.text
    assert catalog.assets(AssetQuery())["total"] == 1


@pytest.mark.ray
def test_a_lost_vector_store_is_rebuilt_from_the_results(tmp_path):
    catalog = Catalog(":memory:")
    out = str(tmp_path / "out")
    commit(tmp_path / "out", "a.parquet", row("s3://b/a", look(1.0, 0.0)), row("s3://b/b", look(0.0, 1.0)))
    port = free_port()
    vectors = Vectors(f"http://127.0.0.1:{port}")
    indexing = Indexing(out, vectors, catalog.load_all)
    assert indexing.once() == 1
    for folder in ("first", "second"):
        with chroma(tmp_path / folder, port):
            assert Indexing(out, vectors, catalog.load_all).once() == 0
            assert vectors.search("image", (0.1, 1.0), 1)[0].asset == asset_id("s3://b/b")
            assert vectors.count("image") == 2


@pytest.mark.ray
def test_results_without_segments_are_indexed_with_current_ones(tmp_path):
    out = tmp_path / "out"
    commit(out, "1.parquet", row("s3://b/a", look(1.0, 0.0)))
    aged(out, "1.parquet")
    commit(out, "2.parquet", *(row("s3://b/film", look(n, 1.0), segment=(n, 2, 60.0)) for n in (0, 1)))
    with chroma(tmp_path / "chroma") as server:
        vectors = Vectors(server.url)
        assert Indexing(str(out), vectors, Catalog(":memory:").load_all).once() == 0
        assert vectors.search("image", (1.0, 0.0), 1)[0].asset == asset_id("s3://b/a")
        assert len(vectors.of_asset("image", asset_id("s3://b/film"))) == 2
