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

# Folders of which all tests run in the same process: they share loaded networks, or a browser and an app.
TOGETHER = ("deployments/detectors", "app/browser")
# These and the files that take half a minute or more are begun first: begun last, one process would be busy after the
# others are done.
FIRST = (
    *TOGETHER,
    "pipelines/ledger/test_cutting",
    "app/test_search_page",
    "pipelines/media/test_pool",
    "app/test_browse_page",
    "deployments/weights/test_hub_and_buckets",
    "app/test_file_page",
    "pipelines/media/test_hostile_files",
)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark the tests by what they use, and group them for the processes of `make test`.

    Other tests would slow down those on the session's cluster. compose.yaml's services need root.
    """
    for item in items:
        if item.path.name.endswith("_on_cluster.py"):
            item.add_marker(pytest.mark.alone)
        if "compose" in item.fixturenames:
            item.add_marker(pytest.mark.launch)
        folder = item.path.parent.as_posix()
        group = next((name for name in TOGETHER if folder.endswith(name)), item.path.stem)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not any(f"/{part}" in item.path.as_posix() for part in FIRST))


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
