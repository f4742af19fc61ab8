"""`raysift upgrade`: when it refuses to replace a running Raysift. That it does is tested on a cluster."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from cluster.errors import SettingsError
from cluster.processes import FAMILY, Processes
from cluster.settings import Settings
from commands.upkeep.upgrade import take_environment
from tests.commands.erasure.commands import run

VARIABLE = "RAYSIFT_LOGS__LEVEL"


@contextmanager
def running(processes: Processes, **variables: str) -> Iterator[None]:
    """A process that is taken for the Ray of `raysift up`, which had these variables."""
    processes.state.mkdir(exist_ok=True)
    own = {key: value for key, value in os.environ.items() if not key.startswith("RAYSIFT_")}
    with subprocess.Popen(["sleep", "60"], env={**own, FAMILY: str(processes.state), **variables}) as ray:
        try:
            processes.file.write_text(json.dumps({"ray": ray.pid}))
            yield
        finally:
            ray.kill()


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """Those of a state folder of its own. The environment of this test is put back at its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["RAYSIFT_STATE_DIR"] = str(tmp_path / "state")
    return Processes(Settings())


def test_without_a_running_raysift_it_says_how_to_start_it(processes):
    assert "Start it with `raysift up`" in str(run("upgrade").exception)


def test_the_settings_of_the_environment_of_up_apply(processes):
    with running(processes, **{VARIABLE: "DEBUG"}):
        take_environment(processes)
    assert os.environ[VARIABLE] == "DEBUG"


def test_a_variable_that_jobs_would_not_have_is_refused_by_its_name(processes):
    os.environ[VARIABLE] = "ERROR"
    with (
        running(processes),
        pytest.raises(SettingsError, match=f"{VARIABLE}: jobs go by the environment of `raysift up`"),
    ):
        take_environment(processes)


def test_it_does_not_change_models_in_the_middle_of_a_job(processes, monkeypatch):
    jobs = [{"job": "scan-1", "state": "finished"}, {"job": "scan-2", "state": "running"}]
    plain = httpx.Client
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=jobs))
    monkeypatch.setattr(httpx, "Client", lambda **more: plain(**more, transport=transport))
    with running(processes):
        assert str(run("upgrade").exception).startswith("scan-2 is not over: wait for it")
