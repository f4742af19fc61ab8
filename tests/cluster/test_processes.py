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
