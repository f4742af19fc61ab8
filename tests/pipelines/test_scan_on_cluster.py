"""The main job on a real cluster with real models: folders and buckets in, results out."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest

from tests.support.cluster import BAD
from tests.support.paths import ROOT, SHARED
from tests.support.servers.seaweed import Seaweed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500)]


def words(line: dict[str, Any], detector: str) -> str:
    return " ".join(found["text"] for found in line["detections"] if found["detector"] == detector)


def found_by(line: dict[str, Any], detector: str) -> list[dict[str, Any]]:
    return [found for found in line["detections"] if found["detector"] == detector]


def test_a_scan_with_bad_files_goes_on_and_exits_3(scanned, media):
    _, told, code = scanned
    assert code == 3
    assert told["units"] == told["done"] == len(list(media.iterdir())) - 1  # all but notes.txt
    assert told["failed"] == len(BAD)
    assert told["skipped"] == 0
    assert (told["listed"], told["left_out"]) == (told["units"] + 1, 1)
    assert [group["examples"] for group in told["left_out_groups"]] == [[(media / "notes.txt").as_uri()]]
    assert told["job"].startswith("scan-") and told["seconds"] > 0


def test_every_object_of_a_folder_is_analysed_or_left_out_with_its_reason(cluster, media, tmp_path):
    folder = tmp_path / "evidence"
    (folder / ".cache").mkdir(parents=True)
    shutil.copy(media / "notice.png", folder / "IMG_0412")
    shutil.copy(media / "notice.png", folder / ".cache" / "_draft.dat")
    shutil.copy(media / "notice.png", folder / "skipped.png")
    (folder / "note.txt").write_text("nothing to see")
    (folder / "gone.jpg").symlink_to("nothing")
    with ZipFile(folder / "backup.old", "w") as archive:
        archive.write(media / "notice.png", "deep/notice 1.png")
        archive.writestr("readme.txt", "no media")
    arguments = ("--out", str(tmp_path / "out"), "--detectors", "ocr", "--exclude", "skipped.*", "--json")
    done = cluster.raysift("scan", str(folder), *arguments)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["listed"], told["left_out"], told["units"]) == (0, 6, 3, 4), done.stderr
    reasons = {group["examples"][0].rsplit("/", 1)[-1]: group["reason"] for group in told["left_out_groups"]}
    assert reasons.keys() == {"note.txt", "gone.jpg", "skipped.png"} and "link to nothing" in reasons["gone.jpg"]
    lines = cluster.export(str(tmp_path / "out"))
    assert lines.keys() == {"IMG_0412", "_draft.dat", "backup.old", "notice%201.png"}
    for name in lines.keys() - {"backup.old"}:
        assert "gate closed at all times" in words(lines[name], "ocr"), name
    container = (folder / "backup.old").as_uri()
    assert lines["notice%201.png"]["uri"] == f"{container}!deep/notice%201.png"
    assert (lines["notice%201.png"]["parent"], lines["backup.old"]["kind"]) == (container, "container")
    counts = json.loads(cluster.raysift("jobs", "verify", told["job"], "--json").stdout)
    assert (counts["listed"], counts["left_out"], counts["unaccounted"], counts["lost"]) == (6, 3, 0, 0)
    again = cluster.raysift("scan", str(folder), *arguments)
    assert json.loads(again.stdout.splitlines()[-1])["skipped"] == 3, "an unchanged container is not opened again"


def test_every_bad_file_has_a_row_with_its_reason(cluster, scanned):
    lines = cluster.export(scanned[0])
    assert {name for name, line in lines.items() if line["errors"]} == BAD
    for name in BAD:
        (error,) = lines[name]["errors"]
        assert error["step"] == "decode" and len(error["reason"]) > 15
        assert name == "broken.jpg" or lines[name]["detections"] == []
    assert re.search(r"cut short: \d+ % of it could be read", lines["broken.jpg"]["errors"][0]["reason"])
    assert "empty" in lines["empty.png"]["errors"][0]["reason"]
    assert "30,000 x 30,000" in lines["huge.png"]["errors"][0]["reason"]


def test_text_faces_and_speech_are_found_in_their_files(cluster, scanned):
    lines = cluster.export(scanned[0])
    assert "gate closed at all times" in words(lines["notice.png"], "ocr")
    assert [len(found_by(lines[name], "face")) for name in ("astronaut.png", "admiral.jpg", "coffee.png")] == [1, 1, 0]
    assert "suspect in handcuffs near the main gate" in words(lines["recording.ogg"], "whisper")
    assert lines["recording.ogg"]["kind"] == "audio" and lines["recording.ogg"]["duration_s"] == pytest.approx(
        4.6, abs=0.2
    )
    assert not any(found_by(line, "nsfw") for line in lines.values())


def test_frames_text_and_speech_of_a_video_have_their_times(cluster, scanned):
    news = cluster.export(scanned[0])["news.mp4"]
    assert (news["kind"], news["width"], news["height"]) == ("video", 1280, 720)
    first = [found for found in found_by(news, "ocr") if found["time_s"] < 2]
    last = [found for found in found_by(news, "ocr") if found["time_s"] > 3]
    assert {"BREAKING NEWS", "Suspect held at the main gate"} <= {found["text"] for found in first}
    assert {"MISSION REPORT", "Launch day"} <= {found["text"] for found in last}
    assert all(found["time_s"] < 3 for found in found_by(news, "face"))
    assert "handcuffs" in words(news, "whisper")
    (start, end) = found_by(news, "whisper")[0]["span"]
    assert 0 <= start < end <= news["duration_s"] + 0.5


def test_a_second_scan_of_unchanged_files_computes_nothing(cluster, scanned, media):
    again = cluster.raysift("scan", str(media), "--out", scanned[0], "--json")
    told = json.loads(again.stdout.splitlines()[-1])
    assert (again.returncode, told["units"], told["skipped"]) == (0, 0, scanned[1]["units"])


def test_a_scan_with_more_detectors_runs_only_those_without_answers(cluster, media, tmp_path):
    folder, out = tmp_path / "media", str(tmp_path / "out")
    folder.mkdir()
    shutil.copy(media / "notice.png", folder)
    assert cluster.raysift("scan", str(folder), "--out", out, "--detectors", "ocr").returncode == 0
    first = cluster.export(out)["notice.png"]["detections"]
    assert {found["detector"] for found in first} == {"ocr"}
    assert cluster.raysift("scan", str(folder), "--out", out, "--detectors", "ocr,clip").returncode == 0
    both = cluster.export(out)["notice.png"]
    assert {found["detector"] for found in both["detections"]} == {"ocr", "clip"}
    assert found_by(both, "ocr") == first


def test_ray_job_submit_from_and_to_s3_gives_the_same_rows(cluster, scanned, media, s3: Seaweed):
    s3.client().create_bucket(Bucket="evidence")
    s3.client().create_bucket(Bucket="found")
    for file in media.iterdir():
        s3.client().upload_file(str(file), "evidence", f"case-7/{file.name}")
    exports = cluster.raysift("env").stdout
    command = (
        f"{exports}\nray job submit --working-dir . -- python -m pipelines s3://evidence/case-7 --out s3://found/case-7"
    )
    done = subprocess.run(
        ["bash", "-c", command], env=cluster.environment, cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert '"failed": 5' in done.stdout, done.stdout + done.stderr
    here, there = cluster.export(scanned[0]), cluster.export("s3://found/case-7")
    assert there.keys() == here.keys()
    for name, line in there.items():
        assert line["uri"] == f"s3://evidence/case-7/{name}"
        assert {**line, "uri": ""} == {**here[name], "uri": ""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/such/folder"], "/no/such/folder"),
        (["s3://no-such-bucket/x"], "no-such-bucket"),
        (["s3://evidence-of-nothing"], "evidence-of-nothing"),
        (
            [str(ROOT / "samples"), "--detectors", "nsfww"],
            "no detector 'nsfww'; there are barcode, clip, face, logo, nsfw",
        ),
        (["ftp://somewhere/x"], "ftp"),
    ],
)
def test_an_error_of_the_operator_is_one_sentence_and_exit_code_1(cluster, arguments, said):
    done = cluster.raysift("scan", *arguments)
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert said in told and "Traceback" not in told


def test_an_upload_gets_the_same_answers_as_a_scan(cluster, scanned, media):
    line = cluster.export(scanned[0])["notice.png"]
    with cluster.api() as api, (media / "notice.png").open("rb") as file:
        told = api.post("/v1/analyze", files={"file": ("notice.png", file)}).json()
    for found in told["detections"]:
        assert (found.pop("carried"), found.pop("evidence")) == (False, None)
    assert {**told, "uri": line["uri"], "parent": None, "decision": None} == line  # an upload is no file to decide on


def test_the_api_finds_files_by_label_words_and_image(cluster, scanned, media):
    with cluster.api() as api:
        assert api.get("/v1/health").json() == {"status": "ok"}
        assert api.get("/v1/ready").json()["ready"] is True
        query = {"under": media.as_uri(), "detector": "face", "min_score": 0.9, "sort": "name"}
        page = api.get("/v1/assets", params=query).json()
        assert [item["name"] for item in page["items"]] == ["admiral.jpg", "astronaut.png", "news.mp4"]
        asset = page["items"][0]["id"]
        whole = (media / "admiral.jpg").read_bytes()
        assert api.get(f"/v1/assets/{asset}/media").content == whole
        part = api.get(f"/v1/assets/{asset}/media", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        assert api.get(f"/v1/assets/{asset}/media", headers={"Range": "bytes=99999999-"}).status_code == 416
        assert api.get(f"/v1/assets/{asset}/thumbnail").headers["content-type"] == "image/jpeg"
        alike = api.get("/v1/search", params={"like": asset}).json()["hits"]
        assert alike and asset not in {hit["asset"]["id"] for hit in alike}
        same = api.get("/v1/search", params={"like": asset, "by": "faces"})
        assert same.status_code == 200 and all(hit["matched"] == "face" for hit in same.json()["hits"])
        with (media / "admiral.jpg").open("rb") as file:
            hits = api.post("/v1/search", params={"by": "faces"}, files={"file": ("x.jpg", file)}).json()["hits"]
        assert hits[0]["asset"]["name"] == "admiral.jpg"
        for question, name, how in (
            ("gate closed", "notice.png", "exact text"),
            ("a cup of espresso", "coffee.png", "picture"),
            ("somebody was arrested", "recording.ogg", "speech"),
        ):
            hits = api.get("/v1/search", params={"q": question}).json()["hits"]
            assert (name, how) in {(hit["asset"]["name"], hit["matched"]) for hit in hits[:4]}, question


def test_errors_of_the_api_are_sentences(cluster):
    with cluster.api() as api:
        assert "no detector 'nsfww'" in api.post("/v1/detect/nsfww", files={"file": b"x"}).json()["detail"]
        assert api.post("/v1/detect/ocr", files={"file": b"x"}).status_code == 422
        assert "page" in api.get("/v1/assets", params={"page": 0}).json()["detail"]
        assert "colour" in api.get("/v1/assets", params={"colour": "red"}).json()["detail"]
        assert api.get("/v1/assets/ffff").status_code == 404
        assert api.get("/v1/jobs/nothing").status_code == 404
        assert api.get("/v1/health", headers={"Host": "evil.example"}).status_code == 400


def test_rays_own_apis_require_the_token(cluster):
    dashboard = cluster.url("RAY__DASHBOARD_")
    assert httpx.get(f"{dashboard}/api/jobs/", trust_env=False).status_code == 401
    token = Path(cluster.environment["RAYSIFT_STATE_DIR"]) / "ray_token"
    assert token.stat().st_mode & 0o777 == 0o600


def test_the_jobs_of_the_api_show_how_each_ended(cluster, scanned):
    with cluster.api() as api:
        jobs = api.get("/v1/jobs").json()
        mine = api.get(f"/v1/jobs/{scanned[1]['job']}").json()
    assert mine["state"] == "finished" and mine["failed"] == len(BAD)
    assert {"detector": "whisper", "files": 2}.items() <= next(
        line for line in mine["summary"]["detectors"] if line["detector"] == "whisper"
    ).items()
    assert scanned[1]["job"] in {job["job"] for job in jobs}
    assert [job["submitted_at"] for job in jobs] == sorted((job["submitted_at"] for job in jobs), reverse=True)


LABELLED = (
    "faces/pair_obama_biden.jpg",
    "text/eurotext.tif",
    "speech/french.aiff",
    "video/composite_news_en.mp4",
    "negatives/chelsea.png",
)


@pytest.mark.skipif(not SHARED.exists(), reason="the labelled media lie beside the repository, not in it")
def test_labelled_media_yield_what_their_labels_say(cluster, tmp_path):
    media, out = SHARED / "media", str(tmp_path / "out")
    folder = tmp_path / "media"
    folder.mkdir()
    for file in (
        "faces/pair_obama_biden.jpg",
        "text/eurotext.tif",
        "speech/french.aiff",
        "video/composite_news_en.mp4",
        "negatives/chelsea.png",
    ):
        shutil.copy(media / file, folder)
    done = cluster.raysift("scan", str(folder), "--out", out)
    assert done.returncode == 0, done.stderr
    lines = cluster.export(out)
    assert len(found_by(lines["pair_obama_biden.jpg"], "face")) == 2
    assert "dictée" in words(lines["french.aiff"], "whisper")
    news = lines["composite_news_en.mp4"]
    assert "ask what you can do for your country" in words(news, "whisper")
    for caption, begins, ends in (("BREAKING NEWS", 0, 4), ("ARCHIVE TAPE 7", 4, 8), ("MISSION STS-93", 8, 11)):
        times = [found["time_s"] for found in found_by(news, "ocr") if found["text"] == caption]
        assert times and begins <= min(times) and max(times) < ends
    assert not found_by(lines["chelsea.png"], "face")
