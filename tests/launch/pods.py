"""Run the pods of k8s/ without Kubernetes: each is a machine (namespaces) with the pod's commands, mounts, user and
probes.

KubeRay's additions follow its source (ray-operator/controllers/ray/common/pod.go): the command that starts Ray, the
token, Redis for the head. There is no kubelet, operator, network policy or autoscaler.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.launch import machines
from tests.launch.compose import Image
from tests.launch.machines import Machine, Network
from tests.support.manifests import Pod, build, cluster, number, of_kind, pods_of
from tests.support.paths import ROOT

SERVICES = {"head": "raysift-head-svc", "decode": "raysift-serve-svc"}  # pod -> the service that KubeRay creates for it
_RUN = """set -e
mkdir -p /home/raysift {mounts}
{mount}
mount -o remount,bind,ro /
cd {workdir}
exec setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all {command}
"""


@dataclass
class Pods:
    """The pods of one overlay, each on a machine. `secrets`: name of a Secret -> key -> value."""

    network: Network
    folder: Path
    where: str
    secrets: Mapping[str, Mapping[str, str]]
    more: Mapping[str, str] = field(default_factory=dict)  # additional environment variables of every process
    machines: dict[str, Machine] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.documents = build(self.where)
        self.ray = cluster(self.documents)
        self.pods = {pod.name: pod for pod in pods_of(self.documents)}
        (self.settings,) = of_kind(self.documents, "ConfigMap")
        self.image = Image.read()
        self.hosts = self.folder / "hosts"  # service names, which only the pods resolve
        self.hosts.write_text("127.0.0.1 localhost\n")

    def start(self, name: str) -> None:
        """Start a pod, without waiting for it."""
        binds = self._files(self.pods[name]) | {"/etc/hosts": self.hosts}
        if Path(sys.base_prefix).is_relative_to("/root"):  # each machine mounts its own /root
            binds[sys.base_prefix] = Path(sys.base_prefix)
        binds |= {f"{self.image.workdir}/{path}": ROOT / path for path in self.image.code}
        machine = self.machines[name] = self.network.machine(f"pod-{name}", binds)
        machine.run(["chmod", "711", "/root"])
        with self.hosts.open("a") as hosts:
            hosts.write(f"{machine.address} {SERVICES.get(name, name)}\n")
        container = self.pods[name].spec["containers"][0]
        self.running[name] = machine.spawn(
            ["unshare", "--mount", "sh", "-c", self._script(self.pods[name], container)],
            env=self.environment(container, head=name == "head"),
        )

    def _script(self, pod: Pod, container: dict[str, Any]) -> str:
        mounts = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
        paths = [mount["mountPath"] for mount in mounts]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        return _RUN.format(
            mounts=" ".join(paths),
            mount="\n".join(f"mount -t tmpfs -o mode=777 tmpfs {path}" for path in paths),
            workdir=self.image.workdir,
            user=pod.spec["securityContext"]["runAsUser"],
            command=shlex.join(self.command(pod.name)),
        )

    def command(self, name: str) -> list[str]:
        """The argument list of a pod's container; for Ray's pods, the command that KubeRay generates."""
        container = self.pods[name].spec["containers"][0]
        if declared := [*container.get("command", []), *container.get("args", [])]:
            return declared
        groups = {group["groupName"]: group for group in self.ray["workerGroupSpecs"]}
        group = self.ray["headGroupSpec"] if name == "head" else groups[name]
        limits = container["resources"]["limits"]
        options = {
            "num-cpus": f"{number(limits['cpu']):.0f}",
            "memory": f"{number(limits['memory']):.0f}",
            "metrics-export-port": "8080",
            "dashboard-agent-listen-port": "52365",
            **group["rayStartParams"],
        }
        first = "--head --no-monitor --redis-password=$REDIS_PASSWORD"
        where = first if name == "head" else f"--address={SERVICES['head']}:6379"
        words = " ".join(f"--{key}={value}" for key, value in sorted(options.items()))
        return ["/bin/bash", "-c", "--", f"ulimit -n 65536; ray start {where} --block {words}"]

    def environment(self, container: Mapping[str, Any], head: bool = False) -> dict[str, str]:
        """The environment variables of a container's processes."""
        variables: dict[str, str] = {}
        if container["image"].startswith("raysift:"):
            variables |= {**self.image.env, "HOME": "/home/raysift"}
        if "envFrom" in container:
            variables |= self.settings["data"]
        for variable in container.get("env", []):
            variables[variable["name"]] = self._value(variable, variables)
        if container["name"].startswith("ray-"):
            variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        if head:
            options = self.ray["gcsFaultToleranceOptions"]
            password = self._value(options["redisPassword"], variables)
            variables |= {"RAY_REDIS_ADDRESS": options["redisAddress"], "RAY_external_storage_namespace": "an-id"}
            variables |= {"REDIS_PASSWORD": password, "RAY_ADDRESS": "127.0.0.1:6379"}
        return {
            **variables,
            **self.more,
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }

    @property
    def token(self) -> str:
        """Ray's authentication token."""
        return self.secrets[self.ray["authOptions"]["secretName"]]["auth_token"]

    def _value(self, variable: Mapping[str, Any], earlier: Mapping[str, str]) -> str:
        """The value of an entry of `env`, whose $(NAME) refer to `earlier` variables."""
        if "value" in variable:
            return re.sub(r"\$\((\w+)\)", lambda match: earlier[match[1]], variable["value"])
        source = variable["valueFrom"]
        if "fieldRef" in source:
            return "raysift-abcde"
        return self.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]

    def _files(self, pod: Pod) -> dict[str, Path]:
        """Path in the pod -> a local file with the value of the Secret that is mounted there."""
        files = {}
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for mount in pod.spec["containers"][0]["volumeMounts"]:
            secret = volumes.get(mount["name"], {}).get("secret")
            for key, value in self.secrets.get(secret["secretName"], {}).items() if secret else ():
                file = self.folder / f"{secret['secretName']}-{key}"
                file.write_text(value)
                files[mount["mountPath"] if "subPath" in mount else f"{mount['mountPath']}/{key}"] = file
        return files

    # ---- probes, which the kubelet runs in Kubernetes

    def probe(self, name: str, which: str) -> bool:
        """Run one of a pod's probes (`livenessProbe`, `readinessProbe`) once; returns whether it succeeds."""
        container = self.pods[name].spec["containers"][0]
        probe, machine = container[which], self.machines[name]
        if "exec" in probe:
            return machine.run(probe["exec"]["command"], env=self.environment(container)).returncode == 0
        request = probe["httpGet"]
        headers = {header["name"]: header["value"] for header in request.get("httpHeaders", [])}
        url = f"http://{machine.address}:{self.pods[name].ports[request['port']]}{request['path']}"
        try:
            response = httpx.get(url, headers=headers, timeout=probe.get("timeoutSeconds", 1), trust_env=False)
        except httpx.HTTPError:
            return False
        return 200 <= response.status_code < 400

    def wait_ready(self, name: str, timeout: float = 120) -> float:
        """Wait until a pod's readiness probe succeeds; returns the seconds it took."""
        return self.wait(lambda: self.probe(name, "readinessProbe"), timeout, f"{name} is not ready")

    def wait(self, condition: Callable[[], bool], timeout: float, message: str) -> float:
        """Wait until `condition()`; returns the seconds it took. See `machines.wait`."""
        return machines.wait(condition, timeout, message, self.running, self.logs)

    def logs(self) -> str:
        """The last lines of each pod's log."""
        return machines.log_tails(self.machines)
