"""The processes of a cluster on one machine, with stand-ins for Ray and Chroma."""

import os
import signal
import sys
from contextlib import contextmanager

import psutil

from cluster.processes import STOPPING, Processes
from cluster.settings import Settings


@contextmanager
def ignored(*numbers):
    """Ignore these signals, as under nohup, in a background job of a script, or after `trap ''`."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_process_that_is_started_with_ignored_signals_can_be_stopped_by_them(tmp_path):
    processes = Processes(Settings(state_dir=tmp_path / "state"))
    processes.state.mkdir()
    with ignored(*STOPPING):
        processes._start("chroma", [sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        (pid,) = processes.alive().values()
        # bit n - 1 of SigIgn is signal n
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())  # noqa: SIM115
        ignored_mask = int(status["SigIgn"], 16)
        assert not [number for number in STOPPING if ignored_mask >> (number - 1) & 1]
        os.kill(pid, signal.SIGTERM)
        assert psutil.Process(pid).wait(10) in (-signal.SIGTERM, None)
    finally:
        processes.stop()
    assert not processes.alive()


def test_a_process_whose_program_is_being_loaded_is_alive(tmp_path, monkeypatch):
    processes = Processes(Settings(state_dir=tmp_path / "state"))
    processes.state.mkdir()
    environ, seen = psutil.Process.environ, []

    def not_at_once(process: psutil.Process) -> dict[str, str]:
        seen.append(process.pid)
        return environ(process) if len(seen) > 2 else {}

    try:
        processes._start("chroma", [sys.executable, "-c", "import time; time.sleep(100)"])
        monkeypatch.setattr(psutil.Process, "environ", not_at_once)
        assert list(processes.alive()) == ["chroma"] and len(seen) == 3
    finally:
        monkeypatch.undo()
        processes.stop()


def test_only_ray_gets_the_secrets_of_the_environment(tmp_path, monkeypatch):
    secrets = {"RAYSIFT_OIDC__CLIENT_SECRET": "s", "raysift_oidc__client_secret": "s", "HOOK_SECRET": " whsec_c2VjcmV0"}
    processes = Processes(Settings(state_dir=tmp_path / "state"))
    for variable, value in {**secrets, "RAYSIFT_KEY": "rs_1", "RAYSIFT_APP__HOST": "127.0.0.1"}.items():
        monkeypatch.setenv(variable, value)
    processes.state.mkdir()
    try:
        for name in ("ray", "chroma", "app"):
            processes._start(name, [sys.executable, "-c", "import time; time.sleep(100)"])
        of = {name: psutil.Process(pid).environ() for name, pid in processes.alive().items()}
    finally:
        processes.stop()
    assert secrets.keys() <= of["ray"].keys()
    for name in ("chroma", "app"):
        assert not {*secrets, "RAYSIFT_KEY"} & of[name].keys() and of[name]["RAYSIFT_APP__HOST"] == "127.0.0.1"
    assert "RAYSIFT_KEY" not in of["ray"]
