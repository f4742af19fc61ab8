"""Files without a known suffix are told by their first bytes; what holds no media is left out with a reason."""

import os
import shutil
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image

from cluster.records import ModelVersion
from cluster.storage.listing import list_media
from pipelines.ledger.left_out import Group, LeftOutFiles
from pipelines.ledger.listing import Places, units_of
from pipelines.ledger.recognizing import EMPTY, UNKNOWN
from pipelines.ledger.stored import stored
from pipelines.media.formats import kind_of
from tests.support.listed import put
from tests.support.servers.seaweed import Seaweed

WANTED = {"nsfw": ModelVersion("nsfw", "m1")}


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")
    return path


def found(folder: str | Path, tmp_path: Path, **places) -> tuple[dict[str, str | None], LeftOutFiles]:
    """File name -> kind of the units of a folder, and what is left out."""
    left_out, seen = LeftOutFiles(), stored((tmp_path / "no results").as_uri())
    endpoint = places.pop("endpoint", None)
    uris = (str(folder),)
    batches = list(units_of(Places(uris, **places), seen, WANTED, 60.0, endpoint, left_out.add))
    units = [unit.item for batch, _ in batches for unit in batch]
    return {item.uri.rpartition("/")[2]: item.kind for item in units}, left_out


def test_media_with_any_name_are_units_and_other_files_are_left_out_by_reason_and_suffix(tmp_path):
    folder = tmp_path / "in"
    for name in ("cache.dat", "IMG0001", ".hidden.png", "_draft.png", "photo.jpg", "deep/x.tmp"):
        picture(folder / name)
    put(folder / "voice.bin", b"RIFF\0\0\0\0WAVEfmt ")
    put(folder / "clip.part", b"\x1aE\xdf\xa3" + bytes(300))
    put(folder / "readme.txt", b"no media")
    put(folder / "notes.txt", b"none here")
    put(folder / "nothing.txt", b"")
    kinds, left_out = found(folder, tmp_path)
    assert kinds == {
        **dict.fromkeys(["cache.dat", "IMG0001", ".hidden.png", "_draft.png", "photo.jpg", "x.tmp"], "image"),
        "voice.bin": "audio",
        "clip.part": "video",
    }
    assert left_out.count == 3
    by_reason = {(group.reason, group.suffix): sorted(group.examples) for group in left_out.groups()}
    texts = sorted((folder / name).as_uri() for name in ("readme.txt", "notes.txt"))
    assert by_reason == {(UNKNOWN, ".txt"): texts, (EMPTY, ".txt"): [(folder / "nothing.txt").as_uri()]}


def test_a_sound_behind_zero_bytes_is_one_whatever_its_name(tmp_path):
    put(tmp_path / "in" / "padded.dat", bytes(731) + b"\xff\xfb\x90\x64" + bytes(400))
    put(tmp_path / "in" / "zeros.dat", bytes(5000))
    kinds, left_out = found(tmp_path / "in", tmp_path)
    assert kinds == {"padded.dat": "audio"} and left_out.count == 1


def test_a_known_format_that_is_not_read_is_named_in_the_reason(tmp_path):
    put(tmp_path / "in" / "logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    put(tmp_path / "in" / "print.ps", b"%!PS-Adobe-3.0")
    _, left_out = found(tmp_path / "in", tmp_path)
    reasons = {group.suffix: group.reason for group in left_out.groups()}
    assert "SVG" in reasons[".svg"] and "PostScript" in reasons[".ps"]


def test_archives_documents_and_mails_are_containers_whatever_their_names(tmp_path):
    picture(tmp_path / "in" / "a.png")
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path / "in")
    shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path / "in")
    (tmp_path / "zipped.zip").rename(tmp_path / "in" / "backup.old")
    (tmp_path / "packed.tar").rename(tmp_path / "in" / "IMG_2")
    put(tmp_path / "in" / "scan.pdf", b"%PDF-1.7\n")
    kinds, _ = found(tmp_path / "in", tmp_path)
    assert kinds == {"a.png": "image", **dict.fromkeys(["backup.old", "IMG_2", "scan.pdf"], "container")}


def test_a_file_that_is_named_itself_is_a_unit_whatever_it_holds(tmp_path):
    kinds, left_out = found(put(tmp_path / "evidence.txt", b"no media"), tmp_path)
    assert kinds == {"evidence.txt": None} and not left_out.count


def test_a_container_that_is_named_itself_is_opened_however_small_it_is(tmp_path):
    with tarfile.open(tmp_path / "evidence.tar", "w") as archive:
        archive.add(picture(tmp_path / "b"), "b")
    assert found(tmp_path / "evidence.tar", tmp_path)[0] == {"evidence.tar": "container"}


def test_the_results_of_the_job_itself_are_no_evidence(tmp_path):
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "results" / "thumbnail.png")
    kinds, left_out = found(tmp_path / "in", tmp_path, out=(tmp_path / "in" / "results").as_uri())
    assert kinds == {"a.png": "image"}
    assert "this job's results" in str(left_out)


def test_a_file_that_may_not_be_read_is_left_out_with_its_reason():
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        picture(folder / "a.png")
        picture(folder / "closed").chmod(0)
        root = os.geteuid() == 0
        if root:  # which may read everything
            os.seteuid(65534)
        try:
            kinds, left_out = found(folder, folder)
        finally:
            if root:
                os.seteuid(0)
    assert kinds == {"a.png": "image"}
    (group,) = left_out.groups()
    assert group.reason == "it may not be read with the rights that Raysift was given"


def test_every_left_out_file_is_written_to_the_folder(tmp_path):
    import pyarrow.parquet as pq

    with LeftOutFiles((tmp_path / "left_out").as_uri()) as left_out:
        for n in range(2500):
            left_out.add(f"s3://b/{n}.TXT", UNKNOWN)
        left_out.add("s3://b/x", EMPTY)
    rows = pq.read_table(tmp_path / "left_out").to_pylist()
    assert len(rows) == 2501 and rows[0] == {"uri": "s3://b/0.TXT", "suffix": ".txt", "reason": UNKNOWN}
    first, second = left_out.groups()
    assert (first.count, len(first.examples), second) == (2500, 20, Group(EMPTY, "", 1, ["s3://b/x"]))


def test_there_are_at_most_two_hundred_groups_and_the_rest_is_counted_together():
    left_out = LeftOutFiles()
    for n in range(300):
        left_out.add(f"s3://b/a.{n}", UNKNOWN)
    assert len(left_out.groups()) == 201 and left_out.groups()[0].count == 100


@pytest.mark.parametrize("head", [b"", b"\0" * 300, b"SQLite format 3\0", b"PAR1", b"\xff\xfe<\0s\0v\0g\0"])
def test_heads_of_other_formats_are_no_media(head):
    assert kind_of(head) is None


@pytest.mark.ray
def test_objects_of_a_bucket_are_told_by_one_request_each_and_odd_keys_are_named(s3: Seaweed, tmp_path, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    client.create_bucket(Bucket="told")
    png = picture(tmp_path / "a.png").read_bytes()
    for key, body in {"in/IMG_1": png, "in/a.txt": b"text", "in/b.png": png, "in/.c": png, "in/folder/": b""}.items():
        client.put_object(Bucket="told", Key=key, Body=body)
    kinds, left_out = found("s3://told/in", tmp_path, endpoint=s3.endpoint)
    assert kinds == {"IMG_1": "image", "b.png": "image", ".c": "image"}
    assert [(group.reason, group.examples) for group in left_out.groups()] == [(UNKNOWN, ["s3://told/in/a.txt"])]


def test_a_tar_that_is_named_like_a_picture_is_listed_as_one(tmp_path):
    with tarfile.open(tmp_path / "a.jpg", "w") as archive:
        archive.add(picture(tmp_path / "b"), "b")
    (item,) = [item for item in list_media(str(tmp_path)) if item.uri.endswith(".jpg")]
    assert item.kind == "image"  # by its name; decoding it says what it is
