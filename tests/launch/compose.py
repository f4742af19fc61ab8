"""compose.yaml without a container engine: a machine for each container, its command and its healthcheck as written.

What an image would bring is this machine's: the locked environment and the distribution's redis-server and nginx. Of
the Dockerfile is taken what it says of the code, the environment variables, the working directory and the user.
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

IN_IMAGE = "raysift:"  # our own; the others bring a program of the same name as is on PATH here


@dataclass
class Compose:
    """The services, in an order in which they can be started, and the machines that they run on.

    `folder` keeps the volumes and the secrets: what outlives a machine that is turned off. `env` is what .env would
    hold, and `more` is set for every process of our own image beside what the file says.
    """

    network: Network
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    machines: dict[str, list[Machine]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # by the name of the machine
    blank: dict[str, list[str]] = field(default_factory=dict)  # what was written on each machine before it was used

    def __post_init__(self) -> None:
        self.spec = read(env=self.env)
        self.services: dict[str, dict[str, Any]] = self.spec["services"]
        self.image = Image.read()
        name = self.env.get("RAYSIFT_NAME", "localhost")
        made = subprocess.run(
            ["sh", ROOT / "cluster/secrets.sh", name], cwd=self.folder, capture_output=True, text=True, check=True
        )
        self.password = re.findall(r"password (\w+)", made.stdout)[0]

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def tls(self) -> ssl.SSLContext:
        """That of a client who trusts nginx's certificate."""
        return ssl.create_default_context(cafile=self.secrets / "tls.crt")

    # ---- what people do with it

    def up(self) -> None:
        """`docker compose up --wait`."""
        for name in self.in_order():
            self.start(name)
        for name in self.services:
            if "healthcheck" in self.services[name]:
                self.wait_healthy(name)

    def start(self, name: str) -> None:
        """Start one service, once what it depends on is there."""
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                self.wait_healthy(other)
        if "service:" in service.get("network_mode", ""):
            self.machines[name] = self.machines[service["network_mode"].partition(":")[2]]
        else:
            replicas = service.get("deploy", {}).get("replicas", 1)
            names = [f"{name}-{number + 1}" for number in range(replicas)] if replicas > 1 else [name]
            self.machines[name] = [self._machine(one, name) for one in names]
        if service.get("restart") == "on-failure":
            self.run(name)
        else:
            for machine in self.machines[name]:
                self.spawn(name, machine)

    def restart(self, name: str, machine: Machine) -> None:
        """What `restart: unless-stopped` does when its machine is back: same volumes, same address, empty disk."""
        machine.start()
        self._prepare(name, machine)
        self.spawn(name, machine)

    def spawn(self, name: str, machine: Machine) -> None:
        """Start the service's command there."""
        self.running[machine.name] = machine.spawn(self.command(name), env=self.environment(name))

    def run(self, name: str) -> None:
        """One that does its work and ends, tried again when it fails: `restart: on-failure`."""
        for _ in range(5):
            done = self._run(name, self.command(name), 240)
            if done.returncode == 0:
                return
        raise AssertionError(f"{name}: {done.stdout}{done.stderr}\n{self.logs()}")

    def execute(self, name: str, command: list[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`docker compose exec NAME COMMAND`."""
        ours = self.services[name]["image"].startswith(IN_IMAGE)
        return self._run(name, self._as_in_image(command) if ours else command, timeout)

    def _run(self, name: str, command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return self.machines[name][0].run(command, env=self.environment(name), timeout=timeout)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{name}: {command} takes too long: {late.stdout}\n{self.logs()}") from None

    def wait_healthy(self, name: str) -> None:
        """Until the healthcheck passes on each of its machines, for no longer than it allows."""
        check = self.services[name]["healthcheck"]
        allowed = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        for machine in self.machines[name]:
            self.wait(lambda machine=machine: self.healthy(name, machine), allowed, f"{machine.name} is not healthy")

    def healthy(self, name: str, machine: Machine) -> bool:
        """What its healthcheck says now."""
        check = self.services[name]["healthcheck"]
        env = self.environment(name)
        try:
            return machine.run(["sh", "-c", check["test"]], env=env, timeout=seconds(check["timeout"])).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait(self, true: Callable[[], bool], allowed: float, complaint: str) -> float:
        """Until it is true; the seconds that took."""
        return machines.wait(true, allowed, complaint, self.running, self.logs)

    def written(self, name: str) -> list[str]:
        """What a service has written on its machine's disk since it was started, less what it is given memory for."""
        memory = tuple(f"{path.partition(':')[0]}/" for path in self.services[name]["tmpfs"])
        return [
            path
            for machine in self.machines[name]
            for path in machine.written()
            if path not in self.blank[machine.name] and not path.startswith(memory)
        ]

    def logs(self) -> str:
        """The end of what each machine's services have said."""
        return machines.ends({one.name: one for of_service in self.machines.values() for one in of_service})

    # ---- what the file says

    def in_order(self) -> Iterator[str]:
        """The services, each after those that it depends on."""
        left = dict(self.services)
        while left:
            ready = [name for name, service in left.items() if not set(service.get("depends_on", {})) & set(left)]
            assert ready, f"these wait for one another: {', '.join(left)}"
            for name in ready:
                del left[name]
                yield name

    def command(self, name: str) -> list[str]:
        """A service's entrypoint and command."""
        service = self.services[name]
        command = [*words(service.get("entrypoint", [])), *words(service["command"])]
        return self._as_in_image(command) if service["image"].startswith(IN_IMAGE) else command

    def environment(self, name: str) -> dict[str, str]:
        """What a service's processes are given."""
        service = self.services[name]
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        said = {key: str(value) for key, value in (service.get("environment") or {}).items()}
        if not service["image"].startswith(IN_IMAGE):
            return {**said, "PATH": path}
        return {**self.image.env, "HOME": "/home/raysift", **said, **self.more, "PATH": path}

    def _as_in_image(self, command: list[str]) -> list[str]:
        user = self.image.user
        return ["env", "-C", self.image.workdir, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                *command]  # fmt: skip

    def _machine(self, machine: str, name: str) -> Machine:
        names = (name,) if machine != name else ()
        if name == "nginx":
            names = (*names, self.env.get("RAYSIFT_NAME", "localhost"))
        made = self.network.machine(machine, binds=self._binds(name), names=names)
        self._prepare(name, made)
        self.blank[machine] = made.written()
        return made

    def _binds(self, name: str) -> dict[str, Path]:
        service = self.services[name]
        binds = {f"/run/secrets/{secret}": self.secrets / secret for secret in service.get("secrets", [])}
        for volume in service.get("volumes", []):
            outside, inside = volume.split(":")[:2]
            binds[inside] = ROOT / outside if outside.startswith(".") else self.volume(outside)
        if Path(sys.base_prefix).is_relative_to("/root"):  # a machine has a /root of its own
            binds[sys.base_prefix] = Path(sys.base_prefix)
        if service["image"].startswith(IN_IMAGE):
            binds |= {f"{self.image.workdir}/{each}": ROOT / each for each in self.image.code}
        return binds

    def volume(self, name: str) -> Path:
        """Where a named volume lies here; the image's user owns it."""
        folder = self.folder / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        return folder

    def _prepare(self, name: str, machine: Machine) -> None:
        for key, value in self.services[name].get("sysctls", {}).items():
            said = machine.run(["sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}"])
            assert said.returncode == 0, said.stderr
        if self.services[name]["image"].startswith(IN_IMAGE):
            home = (
                "mkdir -p /home/raysift && chown {0}:{0} /home/raysift && chmod 1777 /tmp /dev/shm && chmod 711 /root"
            )
            machine.run(["sh", "-c", home.format(self.image.user)])
