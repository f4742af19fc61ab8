"""Weights from a model hub and from a bucket, which are real servers here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.settings import load
from deployments.models import runtime
from deployments.weights import copies, references
from deployments.weights.copies import Manifest, Store
from tests.support.models.weights import CTRANSLATE2, FILES, NET, PICKLE, refused, state, write
from tests.support.paths import ROOT
from tests.support.servers.hub import Repo


@pytest.mark.ray
class TestWithTheHub:
    """Through huggingface_hub itself, from a server on this machine; a second each."""

    def test_safe_weights_are_fetched_once(self, models):
        models.repos["acme/net"] = Repo(FILES | {"pytorch_model.bin": PICKLE, "net.onnx": b"", "run.py": b""}, "mit")
        (folder,) = runtime.weights(NET)
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert there == set(FILES)
        asked = len(models.asked)
        assert runtime.weights(NET) == (folder,) and len(models.asked) == asked
        found = state(NET)
        assert (found.origin, found.licence, found.revision) == ("cache", "mit", models.repos["acme/net"].commit)
        assert os.environ["HF_HUB_OFFLINE"] == "1"

    def test_a_model_of_ctranslate2_is_fetched(self, models):
        models.repos["acme/net"] = Repo({"model.bin": CTRANSLATE2, "vocabulary.json": b"[]"})
        (folder,) = runtime.weights(NET)
        assert sorted(path.name for path in folder.iterdir()) == ["model.bin", "vocabulary.json"]

    def test_pickles_are_fetched_only_by_commit_or_digest(self, models, tmp_path, cache):
        models.repos["acme/net"] = Repo({"craft.pth": PICKLE, "model.bin": PICKLE})
        said = refused(NET)
        assert "has only pickles (craft.pth)" in said
        assert f"hf:acme/net@{models.repos['acme/net'].commit} is what the hub has now" in said
        assert "has only pickles (model.bin)" in refused(f"{NET}/model.bin")  # its name alone is CTranslate2's
        assert not [path for path in cache.rglob("*") if path.name in ("craft.pth", "model.bin")]
        (folder,) = runtime.weights(f"hf:acme/net@{models.repos['acme/net'].commit}")
        (file,) = runtime.weights(f"{NET}/craft.pth#sha256={copies.digest(folder / 'craft.pth')}")
        assert file.read_bytes() == PICKLE

    def test_only_the_named_file_is_fetched(self, models):
        models.repos["acme/net"] = Repo({"free.onnx": b"graph", "not free.onnx": b"graph"})
        (path,) = runtime.weights(f"{NET}/free.onnx")
        assert [file.name for file in path.parent.iterdir()] == ["free.onnx"]

    def test_bytes_that_differ_from_the_listed_digest_are_refused(self, models, cache):
        for name in ("model.safetensors", "config.json"):
            models.repos["acme/net"] = Repo({"model.safetensors": b"77", name: b"ab"}, flipped=True)
            assert f"{name} arrived with other bytes" in refused(NET)
        models.repos["acme/net"].flipped = False
        assert runtime.weights(NET)

    def test_refusals_of_the_hub_are_sentences(self, models, monkeypatch):
        models.repos |= {"acme/gated": Repo(FILES, gated=True), "acme/net": Repo(FILES), "acme/text": Repo({"a": b"b"})}
        assert "wants its terms accepted" in refused("hf:acme/gated@main")
        assert "the hub has no acme/none" in refused("hf:acme/none@main")
        assert "has no revision 'v2'" in refused("hf:acme/net@v2")
        assert "holds no weights" in refused("hf:acme/text@main")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # no server is there
        assert "could not be fetched from the hub" in refused(NET)

    def test_one_of_several_processes_fetches_for_all(self, models):
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

    def test_a_folder_and_a_file_are_copied_and_a_change_is_noticed(self, bucket):
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

    def test_a_pinned_copy_does_not_need_its_bucket(self, bucket, tmp_path):
        bucket.put_object(Bucket="weights", Key="net.pth", Body=PICKLE)
        assert "has only pickles" in refused("s3://weights/net.pth")
        digest = copies.digest(write(tmp_path / "f", {"net.pth": PICKLE}) / "net.pth")
        (path,) = runtime.weights(f"s3://weights/net.pth#sha256={digest}")
        bucket.delete_object(Bucket="weights", Key="net.pth")
        assert runtime.weights(f"s3://weights/net.pth#sha256={digest}") == (path,)
        assert "nothing lies under s3://weights/net.pth" in refused("s3://weights/net.pth")

    def test_a_bucket_can_be_a_mirror(self, bucket, tmp_path, monkeypatch):
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

    def test_a_missing_bucket_gives_a_message(self, bucket):
        assert "s3://no-such-bucket-here/net" in refused("s3://no-such-bucket-here/net")
        assert "s3://no-such-bucket-here/net" in state("s3://no-such-bucket-here/net").missing
