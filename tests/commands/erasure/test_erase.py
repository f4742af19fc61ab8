"""`raysift erase` on a head's real stores: dry run, erasure, proof, crash, holds, retention."""

import json

import pytest
from typer.testing import CliRunner

import raysift
from cluster.access.audit import Audit
from cluster.errors import SettingsError
from cluster.records import asset_id
from cluster.vectors import Vectors
from tests.support.machine import FACE, GONE, OTHER, STAYS, Machine, traces
from tests.support.servers.chroma import chroma


@pytest.fixture
def machine(tmp_path, monkeypatch):
    machine = Machine(tmp_path)
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAYSIFT_KEY", raising=False)
    return machine


def run(*arguments):
    done = CliRunner().invoke(raysift.cli, list(arguments), env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, (SettingsError, SystemExit)):
        raise done.exception
    return done


def content(place):
    return {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}


def proof(machine):
    (file,) = (machine.state / "erasures").glob("erasure-*.json")
    return json.loads(file.read_text())


def test_a_dry_run_changes_nothing_and_lists_every_store(machine):
    before = content(machine.place)
    done = run("erase", "--asset", asset_id(GONE))
    assert done.exit_code == 0, done.exception
    assert "2 rows with 4 vectors, in 2 Parquet files: 1 files everywhere" in done.output
    assert "Nothing was changed" in done.output and "original media" in done.output
    assert {file: text for file, text in content(machine.place).items() if "sqlite" not in file.name} == {
        file: text for file, text in before.items() if "sqlite" not in file.name
    }
    assert machine.holding(*traces(GONE))


def test_an_erased_file_is_in_no_byte_of_any_store_and_others_are_found(machine):
    machine.fill_chroma()
    assert any("chroma" in file for file in machine.holding(*traces(GONE)))
    done = run("erase", "--asset", GONE, "--yes")
    assert done.exit_code == 0, done.exception
    left = machine.holding(*traces(GONE))
    assert left == [f"state/erasures/{proof(machine)['erasure']}.json"], "only the proof has its id"
    assert machine.holding(GONE.encode()) == [] and not (machine.state / "erasures" / "pending.json").exists()
    assert proof(machine)["hits"] == 0 and proof(machine)["assets"] == [asset_id(GONE)]
    assert proof(machine)["searched_for"]["vectors"] == 4
    assert {"vector store", "catalogue", "list of jobs", "galleries"} <= set(proof(machine)["stores"])
    with chroma(machine.state / "chroma", machine.settings.chroma.port) as server:
        vectors = Vectors(server.url)
        assert vectors.search("faces", FACE[STAYS], 1)[0].asset == asset_id(STAYS)
        assert {hit.asset for hit in vectors.search("faces", FACE[GONE], 9)} == {asset_id(STAYS), asset_id(OTHER)}
    assert Audit(machine.state).verify().fault is None
    last = list(Audit(machine.state).records())[-1]
    assert (last["what"], last["assets"], last.get("hits", 0)) == ("erased", [asset_id(GONE)], 0)
