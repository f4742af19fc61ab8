"""Find and kill a cluster's processes by the titles that Ray gives them, and add a second node.

`python -m tests.chaos.nodes ADDRESS CPUS` runs such a node.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from cluster.processes import FAMILY, ROOT, Processes


def join(processes: Processes, cpus: int, disk: Path | None = None) -> psutil.Process:
    """Start another node with `cpus` logical CPUs on this machine; returns its process. `raysift down` stops it.

    `disk`: a folder that it has in place of the cluster's state folder, as another machine has its own disk there; its
    host name is then that of the folder. This needs root, or user namespaces.
    """
    environment = {**os.environ, **processes.environment(), FAMILY: str(processes.state)}
    command = [sys.executable, "-m", "tests.chaos.nodes", environment["RAY_ADDRESS"], str(cpus)]
    if disk is not None:
        disk.mkdir(mode=0o700)
        shutil.copy2(processes.token_file, disk)
        mount = shlex.join(["mount", "--bind", str(disk), str(processes.state)])
        own = ["unshare", "--mount", "--uts", "--propagation", "private", *([] if os.geteuid() == 0 else ["-Ur"])]
        command = [*own, "sh", "-c", f"{mount} && hostname {disk.name} && exec {shlex.join(command)}"]
    with (processes.state / "node.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    return psutil.Process(child.pid)


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill(processes: list[psutil.Process]) -> None:
    """Kill all processes at once, as the loss of a machine does: they are stopped first, so that none can react."""
    send(processes, signal.SIGSTOP)
    send(processes, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=5)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to the processes that still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def titled(state: Path, title: str) -> dict[int, psutil.Process]:
    """Process id -> process of the cluster with this state folder whose command line contains `title`."""
    matching = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.environ().get(FAMILY) == str(state) and process.status() != psutil.STATUS_ZOMBIE
            if ours and title in " ".join(process.cmdline()):
                matching[process.pid] = process
    return matching


def on(node: psutil.Process, title: str) -> set[int]:
    """The ids of the node's processes whose command line contains `title`."""
    matching = set()
    for process in node.children(recursive=True):
        with suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                matching.add(process.pid)
    return matching


def _serve(address: str, cpus: int) -> None:
    # `ray start` replaces 127.0.0.1 by the machine's external address, on which a cluster of `up` does not listen
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    node = Node(
        RayParams(
            gcs_address=address,
            node_ip_address="127.0.0.1",
            num_cpus=cpus,
            object_store_memory=100_000_000,
            # 0: a free port, as two nodes of one machine cannot share ports
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
