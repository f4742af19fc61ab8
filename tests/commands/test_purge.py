"""`raysift people purge`: every place is listed with its count, and unreached places are reported."""

from contextlib import nullcontext

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.records import Vector
from commands import purge as command
from commands.people import cli
from deployments.detectors.face import Face, FaceConfig
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Photo, Rejections, WatchList
from pipelines.people.purge import Searched
from tests.support.stored import commit, found, row

MODEL = Face.version(FaceConfig())
ANN = (0.1, *[0.0] * 127)


@pytest.fixture
def raysift(tmp_path, monkeypatch):
    """The command line, with Ann enrolled and stored once; `caches` is what the API says of the nodes' caches."""
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path))
    gallery = Gallery(str(tmp_path / "galleries" / "face"))
    Image.new("RGB", (20, 20)).save(tmp_path / "ann.png")
    gallery.add("Ann", tmp_path / "ann.png")
    Rejections(gallery.uri).add("Ann", ANN, MODEL)
    box = (0.1, 0.1, 0.2, 0.2)
    face = found("face", "face", 0.99, MODEL, box=box, vectors=(Vector("faces", ANN),))
    commit(tmp_path / "results", "1.parquet", row("s3://b/a", face, found("face", "Ann", 0.9, MODEL, box=box)))

    def answer(request):
        match request.method, request.url.path:
            case "GET", "/v1/session":
                return httpx.Response(200, json={"name": "ann", "role": run.role, "prefixes": None})
            case "GET", "/v1/holds":
                return httpx.Response(200, json=run.holds)
            case "DELETE", "/v1/cache":
                return httpx.Response(200, json=ErasedCaches(**run.caches).model_dump())
            case "DELETE", "/v1/people/Ann":
                return httpx.Response(200, json={"hits": 3})
            case "GET", "/v1/assets":
                return httpx.Response(200, json={"total": 0})
        return httpx.Response(200, json={})

    api = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api")
    monkeypatch.setattr(command, "api_client", lambda settings, *_: nullcontext(api))
    enrolled = WatchList([Photo("Ann", "ann.png", ANN)], {}, 0.5)
    monkeypatch.setattr(command, "watch_list", lambda config, settings: enrolled)
    monkeypatch.setattr(command.people_purge, "forget", lambda *_: Searched(removed=5, left=0))

    def run(*arguments):
        return CliRunner().invoke(cli, arguments, env={"COLUMNS": "200"})

    run.caches = {"entries": {"head": 7, "worker": 4}, "failed": {}, "away": []}
    run.gallery, run.role, run.holds = gallery, "admin", []
    return run


def rows(output):
    """The table: place -> count."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if "│" in line]
    return {place: int(count) for place, count in cells}


def test_without_the_role_of_an_admin_nothing_is_changed(raysift):
    raysift.role = "operator"
    done = raysift("purge", "Ann")
    assert "needs a key of an admin" in str(done.exception)
    assert raysift.gallery.references()


def test_without_a_purpose_that_is_demanded_nothing_is_changed(raysift, tmp_path, monkeypatch):
    before = (tmp_path / "results" / "1.parquet").read_bytes()
    monkeypatch.setenv("RAYSIFT_ACCESS__PURPOSE_REQUIRED", "true")
    assert "give --purpose" in str(raysift("purge", "Ann").exception)
    assert (tmp_path / "results" / "1.parquet").read_bytes() == before and raysift.gallery.references()
    assert raysift("purge", "Ann", "--purpose", "a request by Ann").exit_code == 0


def test_a_hold_on_a_file_that_shows_the_person_forbids_it(raysift, tmp_path):
    before = (tmp_path / "results" / "1.parquet").read_bytes()
    hold = {"id": "1a2b3c4d", "under": "s3://b", "reason": "case 7", "by": "eve", "at": "2026-11-22T12:00:00Z"}
    raysift.holds = [hold]
    refused = str(raysift("purge", "Ann").exception)
    assert "a legal hold forbids it: 1a2b3c4d on s3://b by eve, 2026-11-22: case 7 (1 files)" in refused
    assert (tmp_path / "results" / "1.parquet").read_bytes() == before and raysift.gallery.references()
    raysift.holds = [hold | {"under": "s3://another"}]
    assert raysift("purge", "Ann").exit_code == 0


def test_every_place_is_listed_with_what_was_removed_there(raysift, tmp_path):
    done = raysift("purge", "Ann")
    assert done.exit_code == 0, done.output
    out = (tmp_path / "results").as_uri()
    assert rows(done.output) == {
        f"hits in 1 files of {out}": 1,
        f"vectors of faces in 1 files of {out}": 1,
        "cached answers, of anybody, on head": 7,
        "cached answers, of anybody, on worker": 4,
        "vectors of faces in the vector store": 5,
        "hits in the catalogue": 3,
        "measures of evaluations": 0,
        "photos in the gallery": 1,
        "rejected faces in the gallery": 1,
    }
    assert raysift.gallery.references() == []
    assert "thumbnails" in done.output and "raysift erase --person Ann" in done.output


def test_a_node_that_is_down_is_named_and_erased_when_it_is_back(raysift, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSIFT_GALLERIES_URI", (tmp_path / "galleries").as_uri())
    raysift.caches["away"] = ["far"]
    done = raysift("purge", "Ann")
    assert done.exit_code == 0
    assert "the cache of far. It is erased there before it is used again." in " ".join(done.output.split())


def test_a_node_that_is_down_and_shares_no_gallery_needs_the_operator(raysift):
    raysift.caches["away"] = ["far"]
    failed = raysift("purge", "Ann")
    assert isinstance(failed.exception, SettingsError)
    assert "far is down" in str(failed.exception) and "Delete cache.sqlite*" in str(failed.exception)


def test_a_cache_that_was_not_erased_fails_the_purge(raysift):
    raysift.caches["failed"] = {"worker": "it did not answer for 30 s"}
    failed = raysift("purge", "Ann")
    assert isinstance(failed.exception, SettingsError)
    assert "the cache on worker was not erased (it did not answer for 30 s)" in str(failed.exception)


def test_photos_stay_until_everything_else_is_done(raysift, monkeypatch):
    def down(*_):
        raise SettingsError("the vector store does not answer")

    monkeypatch.setattr(command, "_unsearchable", down)
    assert isinstance(raysift("purge", "Ann").exception, SettingsError)
    assert len(raysift.gallery.references()) == 1
