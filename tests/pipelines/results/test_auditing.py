"""Audit and rebuild of the vector store."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cluster.errors import SettingsError
from cluster.records import Vector, asset_id
from cluster.results import embeddings
from cluster.results.newest import newest_rows
from cluster.vectors import Vectors, VectorsDown
from commands.vectors import cli
from deployments.jobs.job import Job
from deployments.jobs.store import JobStore
from pipelines.results.auditing import Audit, SelfSearch, audit, rebuild
from pipelines.results.indexing import Indexing
from tests.deployments.catalog.contents import expected_detections
from tests.support.servers.chroma import chroma, free_port
from tests.support.stored import commit, found, row


def look(seed, **more):
    values = np.random.default_rng(seed).normal(size=8)
    return found("clip", "cat", 1.0, vectors=(Vector("image", tuple(map(float, values))),), **more)


def film(segment, *findings, **more):
    return row("s3://b/film", *findings, kind="video", segment=segment, unit=segment[0], **more)


def rows_of_all_sorts(chance):
    for unit in range(60):
        of = chance.choice([1, 3, 6])
        yield row(
            f"s3://b/{chance.randrange(5)}",
            *(look(unit, text=str(unit)) for _ in range(chance.randrange(2))),
            *(found(detector, "it", 0.5) for detector in chance.sample(["nsfw", "ocr"], chance.randrange(3))),
            job=chance.choice("ab"),
            unit=unit,
            minutes=unit,
            etag=chance.choice(["e1", "e2"]),
            segment=None if of == 1 else (chance.randrange(3), of, 180.0 / of),
            answered=["logo"] * chance.randrange(2),
        )


@pytest.mark.parametrize("seed", range(5))
def test_the_newest_rows_for_the_newest_content_count_and_each_once(tmp_path, seed):
    rows = list(rows_of_all_sorts(random.Random(seed)))
    random.Random(seed).shuffle(rows)
    for n in range(0, 60, 12):
        commit(tmp_path, f"{n}.parquet", *rows[n : n + 12])
    columns = ["uri", "job", "segment", "detections", "model_versions"]

    def told(some):
        said = {row["uri"]: [] for row in rows}
        for one in sorted(some, key=lambda row: row["segment"] or 0):
            names = {model_version["detector"] for model_version in one["model_versions"]}
            said[one["uri"]] += [(of["detector"], of["label"]) for of in one["detections"] if of["detector"] in names]
        return {uri: sorted(of) for uri, of in said.items()}

    newest = pa.concat_tables(newest_rows(str(tmp_path), columns)).to_pylist()
    assert told(newest) == {uri: sorted(of) for uri, of in expected_detections(rows).items()}
    of_job = pa.concat_tables(newest_rows(str(tmp_path), columns, job="a")).to_pylist()
    assert of_job == [row for row in newest if row["job"] == "a"]
    of_clip = pa.concat_tables(newest_rows(str(tmp_path), columns, detector="clip")).to_pylist()
    assert {one["detector"] for row in of_clip for one in row["model_versions"]} == {"clip"}
    assert len(of_clip) == sum("clip" in {one["detector"] for one in row["model_versions"]} for row in newest)


def test_a_folder_without_results_holds_no_answers(tmp_path):
    assert list(newest_rows(str(tmp_path), embeddings.COLUMNS)) == []
    commit(tmp_path, "1.parquet")
    assert list(newest_rows(str(tmp_path), embeddings.COLUMNS)) == []


def test_an_unavailable_store_is_reported(tmp_path):
    commit(tmp_path, "1.parquet", row("s3://b/a", look(1)))
    vectors = Vectors(f"http://127.0.0.1:{free_port()}")
    for call, place in ((audit, str(tmp_path)), (rebuild, [str(tmp_path)])):
        with pytest.raises(VectorsDown):
            call(place, vectors)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with chroma(tmp_path_factory.mktemp("chroma") / "store") as running:
        yield running


@pytest.fixture
def vectors(server):
    made = Vectors(server.url)
    made.drop()
    return made


@pytest.fixture
def out(tmp_path):
    """Two images, a film whose first cut was superseded, and one that went back to a cut it had."""
    folder = tmp_path / "results"
    commit(folder, "1.parquet", row("s3://b/a", look(1), job="1"), row("s3://b/b", look(2), unit=1, job="1"))
    commit(folder, "2.parquet", *(film((n, 2, 60.0), look(10 + n), job="1") for n in (0, 1)))
    commit(folder, "3.parquet", *(film((n, 4, 30.0), look(20 + n), look(30), job="2", minutes=1) for n in range(4)))
    back = found("face", "face", 1.0, vectors=(Vector("faces", (1.0, 2.0)),))
    for n, (cut, findings) in enumerate((((0, 2, 60.0), look(40)), ((0, 4, 30.0), look(41)), ((1, 2, 60.0), back))):
        commit(folder, f"back {n}.parquet", row("s3://b/back", findings, segment=cut, unit=50 + n, job="3", minutes=n))
    return str(folder)


@pytest.mark.ray
def test_vectors_that_were_never_inserted_are_missing_until_a_rebuild(out, vectors):
    assert audit(out, vectors) == Audit(
        12, missing=12, self_search={"faces": SelfSearch(0, 0), "image": SelfSearch(0, 0)}
    )
    told = []
    assert rebuild([out], vectors, tell=told.append) == 12
    assert told == sorted(told) and 0 < told[-1] <= 1
    whole = {"faces": SelfSearch(1, 1), "image": SelfSearch(11, 11)}
    assert audit(out, vectors) == Audit(12, missing=0, self_search=whole)
    assert audit(out, vectors, sample=5).self_search["image"] == SelfSearch(5, 5)
    assert vectors.count("image") + vectors.count("faces") == 12  # and no superseded ones


@pytest.mark.ray
def test_a_rebuild_keeps_the_vectors_of_all_folders_of_results_that_jobs_have_filled(
    out, server, vectors, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYSIFT_CHROMA__PORT", server.url.rsplit(":", 1)[1])
    other = tmp_path / "case-8"
    commit(other, "1.parquet", row("s3://b/z", look(99)))
    store = JobStore(tmp_path / "state" / "jobs.sqlite")
    store.put(Job("scan-1", ("s3://b/z",), other.as_uri(), 1.0, state="finished"))
    store.close()
    rebuilt = CliRunner().invoke(cli, ["rebuild", "--from", out])
    assert "13 vectors are in the index" in rebuilt.output, rebuilt.exception
    assert audit(str(other), vectors).whole and audit(out, vectors).missing == 0


@pytest.mark.ray
def test_a_rebuilt_store_needs_no_indexing_but_of_later_results(out, vectors, tmp_path):
    rebuild([out], vectors)
    upserts = []

    class Watched(Vectors):
        def upsert(self, rows):
            upserts.append(len(rows))
            return super().upsert(rows)

    Indexing(out, Watched(vectors.url), lambda folder: 0).once()
    assert upserts == []
    commit(tmp_path / "results", "4.parquet", row("s3://b/later", look(99)))
    assert audit(out, vectors).missing == 1
    Indexing(out, Watched(vectors.url), lambda folder: 0).once()
    assert (upserts, audit(out, vectors).missing) == ([1], 0)


@pytest.mark.ray
def test_the_audit_of_a_job_covers_only_its_own_rows(out, vectors):
    Indexing(out, vectors, lambda folder: 0).once()
    assert [audit(out, vectors, job=job).expected for job in ("1", "2", "none")] == [2, 8, 0]
    ids = [f"{asset_id('s3://b/film')}:clip:{n}:0" for n in (1, 3)]
    vectors._chroma.call("image-8", "delete", ids=ids)
    assert [audit(out, vectors, job=job).missing for job in ("1", "2")] == [0, 2]


@pytest.mark.ray
def test_a_vector_that_differs_from_the_results_does_not_find_itself(out, vectors):
    rebuild([out], vectors)
    wrong = [float(n) for n in range(8)]
    vectors._chroma.call("image-8", "update", ids=[f"{asset_id('s3://b/a')}:clip:0"], embeddings=[wrong])
    found_by = audit(out, vectors)
    assert (found_by.missing, found_by.self_search["image"], found_by.whole) == (0, SelfSearch(11, 10), False)


@pytest.mark.ray
def test_the_command_exits_1_with_advice_until_all_vectors_are_there(out, server, vectors, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYSIFT_CHROMA__PORT", server.url.rsplit(":", 1)[1])

    def raysift(*arguments):
        return CliRunner().invoke(cli, [*arguments, "--from", out])

    before = raysift("audit", "--json")
    assert isinstance(before.exception, SettingsError) and "raysift vectors rebuild" in str(before.exception)
    assert json.loads(before.stdout) == {
        "expected": 12,
        "missing": 12,
        "self_search": {space: {"tried": 0, "found": 0} for space in ("faces", "image")},
        "outdated": [],
    }
    rebuilt = raysift("rebuild")
    assert rebuilt.exit_code == 0 and "12 vectors are in" in rebuilt.output
    after = raysift("audit")
    assert after.exit_code == 0
    printed = " ".join(after.output.split())
    assert "12 vectors expected, 0 missing faces: 1 of 1 sampled vectors find themselves (100.0%)" in printed
    assert "image: 11 of 11 sampled vectors find themselves (100.0%)" in printed
    assert "rebuild" not in printed
    wrong = [float(n) for n in range(8)]
    vectors._chroma.call("image-8", "update", ids=[f"{asset_id('s3://b/a')}:clip:0"], embeddings=[wrong])
    lost = raysift("audit")
    assert isinstance(lost.exception, SettingsError) and lost.exit_code == 1
    assert "image: 10 of 11 sampled vectors find themselves (90.9%)" in " ".join(lost.output.split())


@pytest.mark.ray
def test_collections_with_other_parameters_are_named_with_advice(out, server, vectors, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RAYSIFT_CHROMA__PORT", server.url.rsplit(":", 1)[1])
    former = {"hnsw": {"space": "cosine"}}
    vectors._chroma.ask(
        lambda client: client.create_collection("image-8", configuration=former, embedding_function=None)
    )
    Indexing(out, vectors, lambda folder: 0).once()
    assert audit(out, vectors).outdated == ("image-8",)
    told = CliRunner().invoke(cli, ["audit", "--from", out])
    assert told.exit_code == 0 and "image-8: made with earlier parameters" in " ".join(told.output.split())
    rebuild([out], vectors)
    assert audit(out, vectors).outdated == ()


def test_a_store_that_does_not_answer_gives_advice_to_start_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RAYSIFT_CHROMA__PORT", str(free_port()))
    commit(tmp_path / "results", "1.parquet", row("s3://b/a", look(1)))
    for asked in ("audit", "rebuild"):
        failed = CliRunner().invoke(cli, [asked])
        assert isinstance(failed.exception, SettingsError) and "raysift up" in str(failed.exception)


@pytest.mark.ray
def test_vectors_superseded_by_a_scan_into_another_folder_are_not_missing(out, vectors, tmp_path):
    Indexing(out, vectors, lambda folder: 0).once()
    expected = audit(out, vectors).expected
    later = row("s3://b/a", found("clip", "concept", 0.5), look(7), minutes=99)  # its vector has another place
    commit(tmp_path / "other", "1.parquet", later)
    Indexing((tmp_path / "other").as_uri(), vectors, lambda folder: 0).once()
    assert (audit(out, vectors).missing, audit(out, vectors).expected) == (0, expected - 1)
