"""Run compose.yaml without a container engine: each container is a machine (namespaces) with its own command and
healthcheck.

Programs come from this machine instead of the images: the locked environment, and the distribution's redis-server and
nginx. The Dockerfile supplies the code paths, environment variables, working directory and user.
"""

import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.launch import machines
from tests.launch.compose_file import Image, read, seconds, words
from tests.launch.machines import Machine, Network
from tests.support.paths import ROOT

IN_IMAGE = "raysift:"  # prefix of our images; programs of the other images are taken from PATH


@dataclass
class Compose:
    """The services of compose.yaml and the machines that they run on.

    `folder` holds volumes and secrets, which outlive a machine. `env` replaces the .env file. `more` are additional
    environment variables of every process of our image.
    """

    network: Network
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    machines: dict[str, list[Machine]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # machine name -> process of its service
    blank: dict[str, list[str]] = field(default_factory=dict)  # machine name -> files written during its set-up

    def __post_init__(self) -> None:
        self.spec = read(env=self.env)
        self.services: dict[str, dict[str, Any]] = self.spec["services"]
        self.image = Image.read()
        name = self.env.get("RAYSIFT_NAME", "localhost")
        made = subprocess.run(
            ["sh", ROOT / "cluster/secrets.sh", name], cwd=self.folder, capture_output=True, text=True, check=True
        )
        self.key = re.findall(r"admin key (\S+)", made.stdout)[0]

    @property
    def secrets(self) -> Path:
        """The folder that cluster/secrets.sh has filled."""
        return self.folder / "secrets"

    def tls(self) -> ssl.SSLContext:
        """A TLS context that trusts nginx's self-signed certificate."""
        return ssl.create_default_context(cafile=self.secrets / "tls.crt")

    # ---- commands of docker compose

    def up(self) -> None:
        """Start all services and wait until they are healthy, as `docker compose up --wait`."""
        for name in self.in_order():
            self.start(name)
        for name in self.services:
            if "healthcheck" in self.services[name]:
                self.wait_healthy(name)

    def start(self, name: str) -> None:
        """Start one service on its machines, after the services that it depends on are healthy."""
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                self.wait_healthy(other)
        if "service:" in service.get("network_mode", ""):
            self.machines[name] = self.machines[service["network_mode"].partition(":")[2]]
        else:
            replicas = service.get("deploy", {}).get("replicas", 1)
            names = [f"{name}-{number + 1}" for number in range(replicas)] if replicas > 1 else [name]
            self.machines[name] = [self._machine(machine, name) for machine in names]
        if service.get("restart") == "on-failure":
            self.run(name)
        else:
            for machine in self.machines[name]:
                self.spawn(name, machine)

    def restart(self, name: str, machine: Machine) -> None:
        """Start a machine and its service again after `kill`: same volumes, same address, empty disk."""
        machine.start()
        self._prepare(name, machine)
        self.spawn(name, machine)

    def spawn(self, name: str, machine: Machine) -> None:
        """Start the service's command on a machine, without waiting."""
        self.running[machine.name] = machine.spawn(self.command(name), env=self.environment(name))

    def run(self, name: str) -> None:
        """Run a service that ends by itself (`restart: on-failure`), up to five times until it succeeds."""
        for _ in range(5):
            done = self._run(name, self.command(name), 240)
            if done.returncode == 0:
                return
        raise AssertionError(f"{name}: {done.stdout}{done.stderr}\n{self.logs()}")

    def execute(self, name: str, command: list[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on the service's first machine, as `docker compose exec NAME COMMAND`."""
        ours = self.services[name]["image"].startswith(IN_IMAGE)
        return self._run(name, self._as_in_image(command) if ours else command, timeout)

    def _run(self, name: str, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return self.machines[name][0].run(command, env=self.environment(name), timeout=timeout)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{name}: {command} takes too long: {late.stdout}\n{self.logs()}") from None

    def wait_healthy(self, name: str) -> None:
        """Wait until the healthcheck passes on all machines of a service, within start_period + retries x interval."""
        check = self.services[name]["healthcheck"]
        allowed = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        for machine in self.machines[name]:
            self.wait(lambda machine=machine: self.healthy(name, machine), allowed, f"{machine.name} is not healthy")

    def healthy(self, name: str, machine: Machine) -> bool:
        """Whether the service's healthcheck passes on this machine now."""
        check = self.services[name]["healthcheck"]
        env = self.environment(name)
        try:
            return machine.run(["sh", "-c", check["test"]], env=env, timeout=seconds(check["timeout"])).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait(self, condition: Callable[[], bool], timeout: float, message: str) -> float:
        """Wait until `condition()`; returns the seconds it took. See `machines.wait`."""
        return machines.wait(condition, timeout, message, self.running, self.logs)

    def written(self, name: str) -> list[str]:
        """The files that a service has written to its machines' disks since its start, outside of its tmpfs mounts."""
        memory = tuple(f"{path.partition(':')[0]}/" for path in self.services[name]["tmpfs"])
        return [
            path
            for machine in self.machines[name]
            for path in machine.written()
            if path not in self.blank[machine.name] and not path.startswith(memory)
        ]

    def logs(self) -> str:
        """The last lines of each machine's log."""
        return machines.log_tails(
            {machine.name: machine for replicas in self.machines.values() for machine in replicas}
        )

    # ---- contents of the file

    def in_order(self) -> Iterator[str]:
        """Yield the services in an order in which each follows those that it depends on."""
        left = dict(self.services)
        while left:
            ready = [name for name, service in left.items() if not set(service.get("depends_on", {})) & set(left)]
            assert ready, f"these services depend on each other: {', '.join(left)}"
            for name in ready:
                del left[name]
                yield name

    def command(self, name: str) -> list[str]:
        """The argument list of a service: its entrypoint and command."""
        service = self.services[name]
        command = [*words(service.get("entrypoint", [])), *words(service["command"])]
        return self._as_in_image(command) if service["image"].startswith(IN_IMAGE) else command

    def environment(self, name: str) -> dict[str, str]:
        """The environment variables of a service's processes."""
        service = self.services[name]
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        declared = {key: str(value) for key, value in (service.get("environment") or {}).items()}
        if not service["image"].startswith(IN_IMAGE):
            return {**declared, "PATH": path}
        return {**self.image.env, "HOME": "/home/raysift", **declared, **self.more, "PATH": path}

    def _as_in_image(self, command: list[str]) -> list[str]:
        user = self.image.user
        return ["env", "-C", self.image.workdir, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                *command]  # fmt: skip

    def _machine(self, machine: str, name: str) -> Machine:
        names = (name,) if machine != name else ()
        if name == "nginx":
            names = (*names, self.env.get("RAYSIFT_NAME", "localhost"))
        made = self.network.machine(machine, binds=self._binds(name), names=names)
        made.key = self.key
        self._prepare(name, made)
        self.blank[machine] = made.written()
        return made

    def _binds(self, name: str) -> dict[str, Path]:
        service = self.services[name]
        binds = {f"/run/secrets/{secret}": self.secrets / secret for secret in service.get("secrets", [])}
        for volume in service.get("volumes", []):
            outside, inside = volume.split(":")[:2]
            binds[inside] = ROOT / outside if outside.startswith(".") else self.volume(outside)
        if Path(sys.base_prefix).is_relative_to("/root"):  # each machine mounts its own /root
            binds[sys.base_prefix] = Path(sys.base_prefix)
        if service["image"].startswith(IN_IMAGE):
            binds |= {f"{self.image.workdir}/{path}": ROOT / path for path in self.image.code}
        return binds

    def volume(self, name: str) -> Path:
        """The folder of a named volume, which every user may write to."""
        folder = self.folder / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        return folder

    def _prepare(self, name: str, machine: Machine) -> None:
        for key, value in self.services[name].get("sysctls", {}).items():
            done = machine.run(["sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}"])
            assert done.returncode == 0, done.stderr
        if self.services[name]["image"].startswith(IN_IMAGE):
            home = (
                "mkdir -p /home/raysift && chown {0}:{0} /home/raysift && chmod 1777 /tmp /dev/shm && chmod 711 /root"
            )
            machine.run(["sh", "-c", home.format(self.image.user)])
