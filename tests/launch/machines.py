"""Virtual machines for tests, made of Linux namespaces: each has its own network, processes, hostname and a writable
overlay of this machine's files.

They replace the containers of compose.yaml, the pods of Kubernetes and the machines of `ray up`. Creating them needs
root. `make test-launch` runs the tests in separate namespaces: nothing reaches this machine's network, and every
process ends with the tests.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.processes import ROOT

NET = "10.88.0"
_SETUP = """set -e
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
cd {folder}/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o size=2g tmpfs dev/shm
mount -t tmpfs tmpfs tmp
{checkout}
mount --bind {hosts} etc/hosts
rm -f etc/resolv.conf && touch etc/resolv.conf
mount -t tmpfs -o mode=700 tmpfs root
hostname {name}
{binds}
ip link set lo up
touch {ready}
exec chroot . bash -c 'while :; do sleep 86400 & wait; done' # init of the PID namespace: reaps orphans
"""
_ENTER = ("nsenter", "--net", "--pid", "--mount", "--uts", "--root", "--wdns=/root", "--target")


class Machine:
    """A machine of a network. A restart keeps its `address` and discards what was written to its disk."""

    def __init__(self, network: "Network", name: str, address: str, binds: Mapping[str, Path]) -> None:
        self.network, self.name, self.address, self.binds = network, name, address, dict(binds)
        self.log = network.folder / f"{name}.log"
        self._init: psutil.Process | None = None
        self.key = ""  # of the API that runs here, an admin's

    def start(self) -> None:
        """Turn the machine on. No program runs on it until `spawn` or `run`."""
        folder, ready = self.network.folder / f"{self.name}.disk", self.network.folder / f"{self.name}.ready"
        folder.mkdir(exist_ok=True)
        ready.unlink(missing_ok=True)
        binds = "\n".join(
            f"mkdir -p .{inside} && mount --bind {outside} .{inside}"
            if outside.is_dir()
            else f"mkdir -p .{Path(inside).parent} && touch .{inside} && mount --bind {outside} .{inside}"
            for inside, outside in self.binds.items()
        )
        setup = _SETUP.format(
            folder=folder,
            hosts=self.network.hosts,
            name=self.name,
            binds=binds,
            ready=ready,
            checkout=_checkout(folder),
        )
        namespaces = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child"]
        with self.log.open("ab") as log:
            outer = subprocess.Popen([*namespaces, "sh", "-c", setup], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert outer.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        (self._init,) = psutil.Process(outer.pid).children()
        self._connect(self._init.pid)

    def _connect(self, pid: int) -> None:
        wire = f"v{self.address.rpartition('.')[2]}"
        _ip(f"link add {wire} type veth peer name eth0 netns {pid}")
        _ip(f"link set {wire} master bridge up")
        for command in (
            f"address add {self.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {NET}.1",  # programs find their own address by the default route
        ):
            subprocess.run(["nsenter", "--net", "--target", str(pid), "ip", *command.split()], check=True)

    def kill(self) -> None:
        """Simulate a power loss: every process dies at once, and the disk is lost."""
        if self._init is not None:
            self._init.send_signal(signal.SIGKILL)
            psutil.wait_procs([self._init], timeout=10)
            self._init = None
            wire = f"v{self.address.rpartition('.')[2]}"
            subprocess.run(["ip", "link", "delete", wire], capture_output=True)

    def _inside(self, command: list[str]) -> list[str]:
        assert self._init is not None, f"{self.name} is off"
        return [*_ENTER, str(self._init.pid), *command]

    def spawn(self, command: list[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program on the machine, with its output in the machine's log; does not wait for it."""
        with self.log.open("ab") as log:
            log.write(f"==> {shlex.join(command)}\n".encode())
            log.flush()
            return subprocess.Popen(
                self._inside(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(env)
            )

    def run(
        self, command: list[str], env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the machine to its end, within `timeout` seconds."""
        return subprocess.run(
            self._inside(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=_environment(env),
            timeout=timeout,
        )  # fmt: skip

    def written(self) -> list[str]:
        """The files created or changed on the machine's disk since it was turned on."""
        assert self._init is not None
        disk = Path(f"/proc/{self._init.ppid()}/root{self.network.folder}/{self.name}.disk/upper")
        return [f"/{path.relative_to(disk)}" for path in disk.rglob("*") if path.is_file()]

    def processes(self, title: str = "") -> list[psutil.Process]:
        """The processes on the machine whose command line contains `title`."""
        assert self._init is not None
        pid_namespace = os.stat(f"/proc/{self._init.pid}/ns/pid").st_ino
        matching = []
        for process in psutil.process_iter():
            try:
                own_namespace = os.stat(f"/proc/{process.pid}/ns/pid").st_ino
                if own_namespace == pid_namespace and title in " ".join(process.cmdline()):
                    matching.append(process)
            except (psutil.Error, OSError):
                continue
        return matching


class Network:
    """A bridge that connects machines, which resolve each other's names. The test process has the address .1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.machines: dict[str, Machine] = {}

    def machine(self, name: str, binds: Mapping[str, Path] | None = None, names: tuple[str, ...] = ()) -> Machine:
        """Add a machine and turn it on. `binds`: path on the machine -> mounted file or folder of this machine;
        `names`: further host names.
        """
        address = f"{NET}.{len(self.machines) + 2}"
        with self.hosts.open("a") as hosts:
            hosts.write(f"{address} {' '.join((name, *names))}\n")
        made = self.machines[name] = Machine(self, name, address, binds or {})
        made.start()
        return made


def wait(
    condition: Callable[[], bool],
    timeout: float,
    message: str,
    running: Mapping[str, subprocess.Popen[bytes]],
    logs: Callable[[], str],
) -> float:
    """Wait until `condition()`; returns the seconds it took. AssertionError with the logs after `timeout` seconds, or
    when one of the `running` processes ends.
    """
    since = time.monotonic()
    while not condition():
        for name, process in running.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}\n{logs()}"
        assert time.monotonic() - since < timeout, f"{message} after {timeout:.0f} s\n{logs()}"
        time.sleep(0.25)
    return time.monotonic() - since


def log_tails(machines: Mapping[str, Machine], lines: int = 25) -> str:
    """The last `lines` lines of each machine's log."""
    logs = {name: machine.log.read_text(errors="replace").splitlines() for name, machine in machines.items()}
    return "\n".join(f"==> {name}\n" + "\n".join(log[-lines:]) for name, log in logs.items())


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Create the bridge and take over /etc/hosts until the end of the block; kills all machines at the end."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    assert [link["ifname"] for link in links] == ["lo"], (
        "these tests create a network: run them with `make test-launch`"
    )
    _ip("link set lo up")
    _ip("link add bridge type bridge")
    _ip(f"address add {NET}.1/24 dev bridge")
    _ip("link set bridge up")
    made = Network(folder)
    subprocess.run(["mount", "--bind", str(made.hosts), "/etc/hosts"], check=True)
    try:
        yield made
    finally:
        for machine in made.machines.values():
            machine.kill()
        subprocess.run(["umount", "/etc/hosts"], check=True)
        _ip("link delete bridge")


def _checkout(folder: Path) -> str:
    """Shell commands that mount a writable overlay of this checkout, if the empty /tmp of the machine hides it."""
    if not ROOT.is_relative_to("/tmp"):
        return ""
    layers = f"lowerdir={ROOT},upperdir={folder}/upper-checkout,workdir={folder}/work-checkout"
    made = f"mkdir -p .{ROOT} {folder}/upper-checkout {folder}/work-checkout"
    return f"{made} && mount -t overlay overlay -o {layers} .{ROOT}"


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {"HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", **(more or {})}
