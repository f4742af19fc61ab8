"""Chroma as `raysift up` starts it: its clients on this machine find the token, and it stops with the rest."""

import re

import httpx
import psutil
import pytest

from cluster.chroma.client import VectorsDown
from cluster.processes import Processes, port_open
from cluster.settings import ChromaListener, Settings
from cluster.vectors import Vectors
from commands.checks.ports import ports
from commands.checks.stores import chroma
from tests.commands.checks.stand_ins import state, words
from tests.support.servers.chroma import free_port


def test_what_raysift_up_starts_answers_our_clients_and_the_doctor_and_nobody_else(tmp_path, monkeypatch):
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    settings = Settings(state_dir=tmp_path / "state", chroma=ChromaListener(port=free_port()))
    processes = Processes(settings)
    processes.prepare_folder("chroma")
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700
    processes.token_file.write_text("the token of Ray")
    processes.start_chroma()
    try:
        processes.wait("chroma", lambda: port_open(settings.chroma))
        Vectors.configured(settings).mark(["a.parquet"])
        assert Vectors.configured(settings).indexed(["a.parquet"]) == {"a.parquet"}
        with httpx.Client(trust_env=False) as client:
            assert state(chroma(settings, client), "Chroma") == "ok"
        other = settings.model_copy(update={"state_dir": tmp_path / "of another user"})
        with httpx.Client(trust_env=False) as client:
            assert "refuses the token" in words(chroma(other, client), "fails")
        with pytest.raises(VectorsDown, match="refuses the token"):
            Vectors.configured(other).indexed(["a.parquet"])
        listed = words(ports(settings), "ok")  # with servers of other tests on this machine
        assert re.search(rf"Chroma on 127\.0\.0\.1: [\d, ]*\b{settings.chroma.port}\b[\d, ]* \(a token\)", listed)
        (pid,) = processes.alive().values()
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        assert len(family) == 2
    finally:
        processes.stop()
    assert not any(process.is_running() for process in family)
