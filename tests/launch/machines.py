"""Machines of a test's own: each has its network, processes, hostname and a copy of this machine's files to write on.

They are Linux namespaces on a bridge, which root may make; `make test-launch` runs all in namespaces of its own,
so that nothing of them reaches this machine's network, and all ends with the tests. It is what a container gives a
service of compose.yaml, less its image, and what `ray up` finds behind an address.
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
exec chroot . bash -c 'while :; do sleep 86400 & wait; done' # it takes in the orphans of what ended
"""
_ENTER = ("nsenter", "--net", "--pid", "--mount", "--uts", "--root", "--wdns=/root", "--target")


class Machine:
    """One of a network's. `address` stays the same when it is started again; what was written on it does not."""

    def __init__(self, network: "Network", name: str, address: str, binds: Mapping[str, Path]) -> None:
        self.network, self.name, self.address, self.binds = network, name, address, dict(binds)
        self.log = network.folder / f"{name}.log"
        self._init: psutil.Process | None = None

    def start(self) -> None:
        """Turn it on: nothing runs on it but what is started then."""
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
            f"route add default via {NET}.1",  # for programs that ask which address is theirs
        ):
            subprocess.run(["nsenter", "--net", "--target", str(pid), "ip", *command.split()], check=True)

    def kill(self) -> None:
        """Take its power away: every process on it dies at once, its disk is gone."""
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
        """Start a program on it, which writes to its log."""
        with self.log.open("ab") as log:
            log.write(f"==> {shlex.join(command)}\n".encode())
            log.flush()
            return subprocess.Popen(
                self._inside(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(env)
            )

    def run(
        self, command: list[str], env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it to its end."""
        return subprocess.run(
            self._inside(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=_environment(env),
            timeout=timeout,
        )  # fmt: skip

    def written(self) -> list[str]:
        """The files that were made or changed on its disk since it was turned on."""
        assert self._init is not None
        disk = Path(f"/proc/{self._init.ppid()}/root{self.network.folder}/{self.name}.disk/upper")
        return [f"/{path.relative_to(disk)}" for path in disk.rglob("*") if path.is_file()]

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Those on it whose command line holds the title."""
        assert self._init is not None
        here = os.stat(f"/proc/{self._init.pid}/ns/pid").st_ino
        found = []
        for process in psutil.process_iter():
            try:
                if os.stat(f"/proc/{process.pid}/ns/pid").st_ino == here and title in " ".join(process.cmdline()):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


class Network:
    """A bridge with machines on it, which know each other by name. The test itself is on it as well, at .1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.machines: dict[str, Machine] = {}

    def machine(self, name: str, binds: Mapping[str, Path] | None = None, names: tuple[str, ...] = ()) -> Machine:
        """One more, turned on. binds: files and folders of this machine, by where they lie on that one."""
        address = f"{NET}.{len(self.machines) + 2}"
        with self.hosts.open("a") as hosts:
            hosts.write(f"{address} {' '.join((name, *names))}\n")
        made = self.machines[name] = Machine(self, name, address, binds or {})
        made.start()
        return made


def wait(
    true: Callable[[], bool],
    allowed: float,
    complaint: str,
    running: Mapping[str, subprocess.Popen[bytes]],
    logs: Callable[[], str],
) -> float:
    """Until it is true; the seconds that took. AssertionError with the logs when that is more than `allowed`, or
    when one of those ends that should run.
    """
    since = time.monotonic()
    while not true():
        for name, process in running.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}\n{logs()}"
        assert time.monotonic() - since < allowed, f"{complaint} after {allowed:.0f} s\n{logs()}"
        time.sleep(0.25)
    return time.monotonic() - since


def ends(machines: Mapping[str, Machine], lines: int = 25) -> str:
    """The end of what was said on each."""
    said = {name: machine.log.read_text(errors="replace").splitlines() for name, machine in machines.items()}
    return "\n".join(f"==> {name}\n" + "\n".join(words[-lines:]) for name, words in said.items())


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """The network, from here to the end of the block."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    assert [link["ifname"] for link in links] == ["lo"], "these tests make a network: run them with `make test-launch`"
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
    """What brings this checkout back, to write on as well, where the empty /tmp of a machine would hide it."""
    if not ROOT.is_relative_to("/tmp"):
        return ""
    layers = f"lowerdir={ROOT},upperdir={folder}/upper-checkout,workdir={folder}/work-checkout"
    made = f"mkdir -p .{ROOT} {folder}/upper-checkout {folder}/work-checkout"
    return f"{made} && mount -t overlay overlay -o {layers} .{ROOT}"


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {"HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", **(more or {})}
