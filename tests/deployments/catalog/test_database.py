"""The catalogue's file: one owner, killed owners, damaged files, readers beside a writer."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from cluster.api_queries import AssetQuery
from cluster.errors import SettingsError
from deployments.catalog import database
from deployments.catalog.catalog import Catalog
from tests.deployments.catalog.contents import all_lines
from tests.support.paths import ROOT
from tests.support.stored import commit, found, row


def test_a_killed_catalogue_continues_where_it_stopped(tmp_path):
    for n in range(30):
        commit(tmp_path / "out", f"{n:02}.parquet", row(f"s3://b/{n}", found("nsfw", "nude", 0.5), unit=n))
    program = (
        "import sys\nfrom pathlib import Path\nfrom cluster.results import files\n"
        "from deployments.catalog.catalog import Catalog\n"
        "catalog = Catalog(Path(sys.argv[1]))\n"
        "for file in files.committed(sys.argv[2]):\n    catalog.load(file)\n    print(file, flush=True)\n"
    )
    where = (str(tmp_path / "state" / "catalog.duckdb"), str(tmp_path / "out"))
    child = subprocess.Popen([sys.executable, "-c", program, *where], stdout=subprocess.PIPE, cwd=ROOT)
    for _ in range(5):
        assert child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    catalog = Catalog(Path(where[0]))
    assert 5 <= catalog.job("job")["done"] <= 30
    catalog.load_all(where[1])
    assert catalog.job("job") == {"done": 30, "failed": 0}
    assert catalog.facets(AssetQuery())["detectors"] == [
        {"detector": "nsfw", "label": "nude", "count": 30, "score": 0.5}
    ]
    assert [len(line["detections"]) for line in all_lines(catalog)] == [1] * 30
    catalog.close()


def test_an_owner_that_takes_the_place_of_another_waits_for_its_end(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from deployments.catalog.catalog import Catalog; "
        "catalog = Catalog(Path(sys.argv[1])); print('open', flush=True); time.sleep(1); catalog.close()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "catalog.duckdb")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as former:
        assert former.stdout.readline() == b"open\n"
        Catalog(tmp_path / "catalog.duckdb").close()
        former.wait()


def test_a_second_owner_gets_a_message(tmp_path):
    catalog = Catalog(tmp_path / "catalog.duckdb")
    program = (
        "import sys; from pathlib import Path; from deployments.catalog.catalog import Catalog; "
        "from deployments.catalog import database; database.LOCK_S = 0.5; Catalog(Path(sys.argv[1]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "catalog.duckdb")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    catalog.close()
    assert "SettingsError: the catalogue" in child.stderr
    assert "If no other process has it open, delete it" in child.stderr


def test_a_file_that_does_not_open_gives_advice(tmp_path):
    (tmp_path / "catalog.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="delete it; it is built anew"):
        Catalog(tmp_path / "catalog.duckdb")


def test_queries_are_answered_while_it_is_filled(tmp_path):
    files = [
        commit(tmp_path, f"{n}.parquet", *(row(f"s3://b/{n}/{m}", found("a", "b", 0.5), unit=m) for m in range(50)))
        for n in range(8)
    ]
    catalog = Catalog(":memory:")
    stop = threading.Event()

    def browse():
        while not stop.is_set():
            page = catalog.assets(AssetQuery(label=("b",)))
            assert page["total"] % 50 == 0
            assert len(page["items"]) == min(60, page["total"])

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(browse) for _ in range(2)]
        for file in files:
            catalog.load(file)
        stop.set()
        for reader in readers:
            reader.result()
    assert catalog.assets(AssetQuery())["total"] == 400


def test_no_statement_reaches_the_disk():
    catalog = Catalog(":memory:")
    with pytest.raises(Exception, match="file system operations are disabled"):
        catalog._database.rows("select * from read_text('/etc/hostname')")


def test_a_query_that_takes_too_long_is_interrupted_and_others_go_on(monkeypatch):
    monkeypatch.setattr(database, "QUERY_S", 0.2)
    catalog = database.Database(":memory:")
    with pytest.raises(duckdb.InterruptException):
        catalog.rows("select count(*) from range(10000000) a, range(10000000) b where a.range < b.range")
    assert catalog.rows("select 1 as one") == [{"one": 1}]


def test_a_crash_while_a_catalogue_is_begun_again_loses_no_folder(tmp_path, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    path = tmp_path / "catalog-3.duckdb"
    Catalog(path).close()
    database.begin_again(path, ["s3://b/one", "s3://b/two"])
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(database.Database, "transaction", crash)
        database.begin_again(path, ["s3://b/three"])
    assert database.folders_of(path) == {"s3://b/one", "s3://b/two"}
    database.begin_again(path, ["s3://b/three"])
    assert database.folders_of(path) == {"s3://b/three"} and list(tmp_path.iterdir()) == [path]
