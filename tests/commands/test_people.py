"""`raysift people`, without a running Raysift: the checks of photos, and the changes of stored results."""

import json
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.errors import SettingsError
from cluster.records import Vector, asset_id
from commands.people import _check, cli
from deployments.detectors.face import Face, FaceConfig
from deployments.galleries.store import Gallery
from deployments.galleries.watchlist import Rejections
from pipelines.people import match
from tests.support.browser import free_port
from tests.support.stored import commit, found, row

MODEL = Face.version(FaceConfig())


def api(*detections, status=200):
    answer = {"detections": list(detections)} if status == 200 else {"detail": "it is no picture"}
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json=answer))
    return httpx.Client(transport=transport, base_url="http://api")


def seen(label="face", evidence=None):
    return {"label": label, "score": 0.9, "evidence": evidence}


@pytest.mark.parametrize(
    ("client", "complaint"),
    [
        (api(), "no face was found"),
        (api(seen(), seen()), "2 faces were found"),
        (api(seen(evidence="no vector: blurred (sharpness 9, 25 needed)")), "has no vector: blurred"),
        (api(status=422), "it is no picture"),
    ],
)
def test_a_photo_that_cannot_enrol_is_refused_with_the_reason(client, complaint):
    with pytest.raises(SettingsError, match=complaint):
        _check(Path(__file__), "Ann", client)


def test_a_photo_with_a_blurred_face_in_the_background_can_enrol():
    _check(Path(__file__), "Ann", api(seen(), seen(evidence="no vector: blurred (sharpness 9, 25 needed)")))


def test_a_photo_that_may_show_another_enrolled_person_gets_a_warning(capsys):
    _check(Path(__file__), "Ann", api(seen(), seen("Bob", "distance 0.1 to photo b.png")))
    assert "this may be Bob" in capsys.readouterr().err
    _check(Path(__file__), "Bob", api(seen(), seen("Bob", "distance 0.1 to photo b.png")))
    assert capsys.readouterr().err == ""


@pytest.fixture
def raysift(tmp_path, monkeypatch):
    """The command line; its state under tmp_path, two files in its results: two faces named Ann, one without a name."""
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RAYSIFT_API__PORT", str(free_port()))

    def face(x, left, *hit):
        box = (left, 0.1, left + 0.1, 0.2)
        vectors = (Vector("faces", (x, *[0.0] * 127)),)
        yield found("face", "face", 0.99, MODEL, box=box, vectors=vectors)
        yield from (found("face", name, 0.9, MODEL, box=box) for name in hit)

    named = row("s3://b/two", *face(0.1, 0.1, "Ann"), *face(0.2, 0.5, "Ann"))
    commit(tmp_path / "results", "1.parquet", named, row("s3://b/nobody", *face(9.0, 0.1)))
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def hits(folder):
    return {
        answer.row["uri"]: [one.detection.label for one in answer.found if one.detection.label != "face"]
        for answer in match.current(str(folder))
    }


def test_match_removes_names_of_people_who_are_not_enrolled(raysift, tmp_path):
    done = raysift("match")
    assert done.exit_code == 0
    printed = " ".join(done.output.split())
    assert "1 files have other names than before" in printed and "the next scan loads it into the catalogue" in printed
    assert hits(tmp_path / "results") == {"s3://b/two": [], "s3://b/nobody": []}


@pytest.mark.parametrize(
    ("which", "many"), [("s3://b/two", 2), (asset_id("s3://b/two"), 2), (f"{asset_id('s3://b/two')}:2", 1)]
)
def test_faces_are_rejected_by_the_uri_or_id_of_a_file_and_by_number(raysift, tmp_path, which, many):
    assert f"{many} faces are not Ann" in raysift("reject", "Ann", which).output
    kept = Rejections(f"{tmp_path}/galleries/face").read(MODEL)["Ann"]
    assert kept.shape == (many, 128) and 0.2 in kept[:, 0].round(2)


def test_a_missing_face_cannot_be_rejected(raysift):
    for which in (f"{asset_id('s3://b/two')}:3", "s3://b/nobody", "s3://b/missing"):
        failed = raysift("reject", "Ann", which)
        assert isinstance(failed.exception, SettingsError) and "has no such face named 'Ann'" in str(failed.exception)


def test_commands_that_need_the_api_change_nothing_without_it(raysift, tmp_path):
    before = (tmp_path / "results" / "1.parquet").read_bytes()
    for arguments in (("purge", "Ann"), ("add", "Ann", __file__)):
        failed = raysift(*arguments)
        assert isinstance(failed.exception, SettingsError) and "raysift up" in str(failed.exception)
    assert (tmp_path / "results" / "1.parquet").read_bytes() == before


def test_an_empty_list_says_how_to_fill_it(raysift):
    assert "raysift people add" in raysift("list").output


def test_the_list_marks_photos_that_cannot_be_used(raysift, tmp_path, monkeypatch):
    folder = tmp_path / "galleries" / "face" / "Ann"
    folder.mkdir(parents=True)
    for name in ("good", "nobody"):
        Image.effect_noise((40, 30), 90).save(folder / f"{name}.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:-300])
    listed = raysift("list").output
    assert "not used: Ann/cut.png is damaged" in listed and "was not checked" in " ".join(listed.split())

    faces = {"good.png": [seen()], "nobody.png": []}

    def answer(request):
        file = request.read().split(b'filename="')[1].split(b'"')[0].decode()
        return httpx.Response(200, json={"detections": faces[file]})

    running = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api")
    monkeypatch.setattr("commands.people.api_client", lambda settings, *_: nullcontext(running))
    listed = raysift("list").output
    assert "not used: Ann/nobody.png cannot be compared: no face was found" in listed and "good.png" not in listed


def test_what_is_removed_or_rejected_is_recorded_before_it_is(raysift, tmp_path, monkeypatch):
    sent = []

    def answer(request):
        sent.append((request.url.path, json.loads(request.content)))
        return httpx.Response(403, json={"detail": "this needs a purpose"})

    refusing = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api")
    monkeypatch.setattr("commands.people.api_client", lambda settings, purpose: nullcontext(refusing))
    Image.new("RGB", (40, 20)).save(tmp_path / "ann.png")
    photos = Gallery(f"{tmp_path}/galleries/face")
    photos.add("Ann", tmp_path / "ann.png")
    for arguments in (("remove", "Ann"), ("reject", "Ann", "s3://b/two")):
        failed = raysift(*arguments)
        assert isinstance(failed.exception, SettingsError) and "needs a purpose" in str(failed.exception)
    assert sent == [("/v1/people/Ann/removed", {}), ("/v1/people/Ann/rejected", {"asset": asset_id("s3://b/two")})]
    assert photos.references() and not Rejections(f"{tmp_path}/galleries/face").paths()
