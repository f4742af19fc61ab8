"""Shared fixtures: one S3 server and one cluster for the whole session, started by the public commands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from commands import demo
from tests.support.cluster import Cluster, environment
from tests.support.servers.seaweed import Seaweed, seaweed

# Files that take half a minute or more: begun last, one would keep a process busy after the others are done.
LONGEST = (
    "app/browser/pages/test_pages.py",
    "app/browser/tasks/test_deciding.py",
    "deployments/detectors/test_contract.py",
    "deployments/detectors/test_whisper.py",
    "app/browser/test_gallery.py",
    "pipelines/ledger/test_cutting.py",
    "app/test_search_page.py",
    "pipelines/media/test_pool.py",
    "app/browser/files/test_viewer.py",
    "app/browser/tasks/test_following.py",
    "app/browser/test_german.py",
    "app/test_browse_page.py",
    "deployments/detectors/test_gpu.py",
    "app/browser/test_oidc.py",
    "deployments/weights/test_hub_and_buckets.py",
    "app/browser/test_jobs.py",
    "app/test_file_page.py",
    "pipelines/media/test_hostile_files.py",
)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark the tests that use the session's cluster, which other tests beside them would slow down, and those that use
    compose.yaml's services.

    The longest files come first.
    """
    for item in items:
        if item.path.name.endswith("_on_cluster.py"):
            item.add_marker(pytest.mark.alone)
        if "compose" in item.fixturenames:
            item.add_marker(pytest.mark.launch)
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A running S3 server."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3: Seaweed) -> Iterator[Cluster]:
    """A cluster with its own state folder and ports, started by `raysift up` and stopped by `raysift down`."""
    state = tmp_path_factory.mktemp("raysift") / "state"
    up = Cluster(environment(state, AWS_ENDPOINT_URL=s3.endpoint, **s3.environment()))
    started = up.raysift("up")
    assert started.returncode == 0, started.stderr
    yield up
    stopped = up.raysift("down")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's files, and invalid ones: empty, not an image, too many pixels, not media by name."""
    folder = demo.make(tmp_path_factory.mktemp("media") / "files")
    (folder / "empty.png").touch()
    (folder / "zero.mp4").touch()
    (folder / "letter.jpg").write_text("Dear reader, this is no picture.")
    Image.new("1", (30_000, 30_000)).save(folder / "huge.png")
    (folder / "notes.txt").write_text("not media by its name: left alone")
    return folder


@pytest.fixture(scope="session")
def scanned(cluster: Cluster, media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], int]:
    """The results folder, the JSON summary and the exit code of a scan of `media`."""
    out = str(tmp_path_factory.mktemp("results"))
    done = cluster.raysift("scan", str(media), "--out", out, "--json")
    assert done.stdout, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1]), done.returncode
