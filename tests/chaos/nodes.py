"""The processes of a cluster, by the names Ray gives them, and a second node.

`python -m tests.chaos.nodes ADDRESS CPUS` starts that node.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from cluster.processes import FAMILY, ROOT, Processes


def join(processes: Processes, cpus: int) -> psutil.Process:
    """A node with so many logical CPUs on this machine; `raysift down` of its cluster finds it."""
    environment = {**os.environ, **processes.environment(), FAMILY: str(processes.state)}
    with (processes.state / "node.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nodes", environment["RAY_ADDRESS"], str(cpus)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    return psutil.Process(child.pid)


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL them all at once, as a machine that is taken away: none sees another one die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    psutil.wait_procs(processes, timeout=5)


def titled(state: Path, title: str) -> dict[int, psutil.Process]:
    """The processes of the cluster whose command line holds the title, by their ids."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.environ().get(FAMILY) == str(state) and process.status() != psutil.STATUS_ZOMBIE
            if ours and title in " ".join(process.cmdline()):
                found[process.pid] = process
    return found


def on(node: psutil.Process, title: str) -> set[int]:
    """The ids of those on this node."""
    found = set()
    for process in node.children(recursive=True):
        with suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


def _serve(address: str, cpus: int) -> None:
    # `ray start` takes 127.0.0.1 for another name of the machine's outer address, where `up` lets nobody listen
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    node = Node(
        RayParams(
            gcs_address=address,
            node_ip_address="127.0.0.1",
            num_cpus=cpus,
            object_store_memory=100_000_000,
            # two nodes of one machine must not want the same ports
            node_manager_port=0,
            dashboard_agent_listen_port=0,
            min_worker_port=0,
            max_worker_port=0,
            include_log_monitor=False,
        ),
        head=False,
        shutdown_at_exit=True,
        spawn_reaper=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(node.gcs_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
