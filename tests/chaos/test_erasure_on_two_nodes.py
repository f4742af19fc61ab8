"""A person who was found by two nodes, each with its own disk, is erased from every file of both."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cluster.chroma.client import stored_forms
from cluster.processes import Processes
from cluster.results import embeddings
from cluster.results import files as results_files
from cluster.results.newest import newest_answers, newest_contents
from cluster.vectors import DISTANCES
from commands import demo
from deployments.detector import names
from tests.chaos import nodes
from tests.chaos.conftest import settings, until
from tests.support.cluster import Cluster, environment
from tests.support.machine import holding

# Each step has a deadline of its own, which says what it waited for; together they take less than this one.
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(2400)]

UP_S, PEOPLE_S, SCAN_S, SCANS_S, ERASE_S, DOWN_S = 400, 90, 240, 400, 300, 90
NAME = "Ann Example"
FILES, MOST_SCANS = 120, 5  # in each scan
SEARCHED = 30  # vectors, of as many files


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose head has room for one of the two processes that analyse files, and so for one disk's cache."""
    others = (name for name in names() if name != "face")
    variables = environment(
        tmp_path / "head",
        RAYSIFT_RESULTS_URI=(tmp_path / "results").as_uri(),
        RAYSIFT_GALLERIES_URI=(tmp_path / "galleries").as_uri(),
        RAYSIFT_RAY__CPUS="4",
        RAYSIFT_SCANNING__WORKERS="2",
        RAYSIFT_SCANNING__WORKER_CPUS="2.5",
        **{f"RAYSIFT_DETECTORS__{name.upper()}__ENABLED": "false" for name in others},
    )
    cluster = Cluster(variables)
    try:
        started = cluster.raysift("up", timeout=UP_S)
        assert started.returncode == 0, started.stderr
        yield cluster
    finally:
        cluster.raysift("down", timeout=DOWN_S)


def portraits(folder: Path, portrait: Image.Image, seed: int) -> Path:
    """Write FILES pictures of one face, each different, so that the cache has no answers for them."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(FILES):
        left, top = (int(each) for each in random.integers(0, 40, 2))
        picture = portrait.crop((left, top, portrait.width, portrait.height))
        ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.2)).save(folder / f"{number:03}.png")
    return folder


def cached(disk: Path) -> list[bytes]:
    """The answers in the cache of a disk."""
    file = disk / "cache.sqlite"
    if not file.exists():
        return []
    with sqlite3.connect(file) as connection:
        return [value for (value,) in connection.execute("select value from answers")]


def vectors(out: str) -> list[tuple[str, np.ndarray]]:
    """Id and values of every vector of a face in the results."""
    found = []
    for table in results_files.scan(out, embeddings.COLUMNS):
        entries = embeddings.embeddings(table, newest_answers(table, newest_contents(table)))["faces-128"]
        found += zip(entries.ids, entries.values, strict=True)
    return found


def traces(out: str) -> list[bytes]:
    """Pieces of vectors as Parquet, Chroma's log and its index have them."""
    found = vectors(out)
    pieces = []
    for id, values in found[:: max(1, len(found) // SEARCHED)]:
        for form in (values, *stored_forms(id, values, DISTANCES["faces"])):
            data = form.astype(np.float32).tobytes()
            pieces += [data[:64], data[-64:]]
    return pieces


def test_an_erased_person_is_in_no_file_of_two_nodes(cluster: Cluster, tmp_path: Path):
    state, second, out = tmp_path / "head", tmp_path / "second", (tmp_path / "results").as_uri()
    processes = Processes(settings(cluster.environment))
    node = nodes.join(processes, cpus=4, disk=second)
    until(lambda: nodes.on(node, "DashboardAgent"), "the node did not join", while_runs=node)
    portrait = Image.open(demo.make(tmp_path / "demo") / "astronaut.png").convert("RGB")
    enrolled = cluster.raysift("people", "add", NAME, str(tmp_path / "demo" / "astronaut.png"), timeout=PEOPLE_S)
    assert enrolled.returncode == 0, enrolled.stderr
    began = time.monotonic()
    for number in range(MOST_SCANS):
        media = portraits(tmp_path / "media" / str(number), portrait, number)
        scanned = cluster.raysift("scan", str(media), "--out", out, timeout=SCAN_S)
        assert scanned.returncode == 0, scanned.stderr
        if cached(second) or time.monotonic() - began > SCANS_S:
            break
    answers = {disk: cached(disk) for disk in (state, second)}
    assert all(answers.values()), "each node has analysed some of the files, and remembers what it found"

    needles = [
        *traces(out),
        *(piece for found in answers.values() for answer in found[::10] for piece in (answer[:64],)),
    ]
    places = {file.partition("/")[0] for file in holding(tmp_path, *needles)}
    assert places == {"head", "second", "results"}
    assert any(file.startswith("head/chroma/") for file in holding(tmp_path, *needles))
    assert NAME.encode() in (tmp_path / "head/audit.jsonl").read_bytes(), "which says that she was enrolled, and stays"
    assert holding(processes.ray_temp, *needles, NAME.encode()) == [], "a log of Ray, of either node, has it"

    erased = cluster.raysift("erase", "--person", NAME, "--yes", timeout=ERASE_S)
    assert erased.returncode == 0, erased.stdout + erased.stderr
    assert nodes.titled(state, "") == {} and not processes.ray_temp.exists()
    assert (cached(state), cached(second)) == ([], [])
    assert holding(tmp_path, *needles) == []
    assert holding(tmp_path, NAME.encode()) == []
    assert not any(NAME in str(file) for file in tmp_path.rglob("*"))
    assert "second" in erased.stdout, "the proof says where caches were emptied"

    started = cluster.raysift("up", timeout=UP_S)
    assert started.returncode == 0, started.stderr
    with cluster.api() as api:
        assert api.get("/v1/assets", params={"label": NAME}).json()["total"] == 0
        assert api.get("/v1/assets").json()["total"] >= FILES, "the files are known, without her"
    assert holding(tmp_path, *needles, NAME.encode()) == []
