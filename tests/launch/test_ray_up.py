"""`ray up` on local machines, by the steps of docs/launching.md: from a laptop, over ssh, to a finished scan."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image, ImageDraw, ImageFont

from cluster.processes import ROOT
from deployments.detector import names
from tests.launch.machines import Machine, Network

pytestmark = [pytest.mark.launch, pytest.mark.chaos, pytest.mark.timeout(400)]

CONFIG = "cluster/ray_up/local.yaml"
SETTINGS = "cluster/ray_up/settings.yaml"
DETECTORS = ("nsfw", "ocr")
WORDS = ("amber", "birch", "cedar", "dahlia", "elder", "fennel")


@dataclass
class Laptop:
    """The operator's machine, which has a checkout of the repository and its environment."""

    machine: Machine

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command in the checkout, without waiting for it."""
        return self.machine.spawn(["bash", "-c", self._in_checkout(command)])

    def run(self, command: str) -> str:
        """Run a shell command in the checkout; returns its output. AssertionError with the output if it fails."""
        done = self.machine.run(["bash", "-c", self._in_checkout(command)], timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the checkout."""
        done = self.machine.run(["bash", "-c", self._in_checkout(f"cat > {path} <<'END'\n{text}\nEND")])
        assert done.returncode == 0, done.stderr

    def _in_checkout(self, command: str) -> str:
        return f"cd {ROOT} && . .venv/bin/activate && {command}"


@dataclass
class Cluster:
    """The cluster that `ray up` has started, and the seconds that took."""

    laptop: Laptop
    head: Machine
    worker: Machine
    results: Path
    up_s: float


def test_a_scan_by_ray_job_submit_reads_every_text_on_two_nodes(cluster: Cluster):
    begun = time.monotonic()
    until_ready(cluster)
    ready_s = time.monotonic() - begun
    begun = time.monotonic()
    while " 2 local.cluster.node" not in (nodes := cluster.laptop.run(f"ray exec {CONFIG} 'ray status'")):
        assert time.monotonic() - begun < 60, nodes
    nodes_s = ready_s + time.monotonic() - begun
    forwarding = cluster.laptop.start(f"ray dashboard {CONFIG}")
    try:
        begun = time.monotonic()
        submitted = (
            "RAY_AUTH_MODE=token ray job submit --address http://127.0.0.1:8265 -- python -m pipelines /srv/media"
        )
        log = cluster.laptop.run(
            f"curl -s --retry 60 --retry-connrefused http://127.0.0.1:8265 > /dev/null; {submitted}"
        )
        scan_s = time.monotonic() - begun
    finally:
        forwarding.terminate()
    assert f'"done": {len(WORDS)}' in log and '"failed": 0' in log and scan_s < 120, log
    rows = [row for file in cluster.results.glob("job=*/*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    texts = {row["uri"].rpartition("/")[2]: [detection["text"] for detection in row["detections"]] for row in rows}
    assert texts == {f"{word}.png": [word] for word in WORDS}
    print(
        f"ray up {cluster.up_s:.1f} s; then ready after {ready_s:.1f} s, two nodes {nodes_s:.1f} s; scan {scan_s:.1f} s"
    )


def test_a_second_ray_up_restarts_the_processes_of_the_head(cluster: Cluster):
    (before,) = cluster.head.processes("chroma run")
    begun = time.monotonic()
    cluster.laptop.run(f"ray up -y {CONFIG}")
    up_s = time.monotonic() - begun
    until_ready(cluster)
    (after,) = cluster.head.processes("chroma run")
    assert after.pid != before.pid
    print(f"ray up again {up_s:.1f} s, ready {time.monotonic() - begun - up_s:.1f} s after it")


def test_ray_down_and_ray_stop_end_every_process_of_ray(cluster: Cluster):
    begun = time.monotonic()
    cluster.laptop.run(f"ray exec {CONFIG} 'raysift down'")
    cluster.laptop.run(f"ray down -y {CONFIG}")
    stop = ". /srv/raysift/cluster/ray_up/environment.sh; ray stop"
    cluster.laptop.run(f"ssh -o StrictHostKeyChecking=no root@{cluster.worker.address} '{stop}'")
    for machine in (cluster.head, cluster.worker):
        left = [process.cmdline() for title in ("ray", "chroma", "streamlit") for process in machine.processes(title)]
        assert left == []
    print(f"ray down {time.monotonic() - begun:.1f} s")


def until_ready(cluster: Cluster) -> None:
    """Wait until every detector answers, and assert that the three other processes of the head run."""
    ready = "curl -fsS --retry 120 --retry-delay 1 --retry-all-errors http://localhost:8000/v1/ready"
    assert '"ready":true' in cluster.laptop.run(f"ray exec {CONFIG} {ready!r}").replace(" ", "")
    status = cluster.laptop.run(f"ray exec {CONFIG} 'raysift status'")
    assert status.count(" runs ") == 3, status


@pytest.fixture(scope="module")
def cluster(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head, a worker and a laptop, after `ray up` on the laptop."""
    folder = tmp_path_factory.mktemp("ray_up")
    media, results = folder / "media", folder / "results"
    results.mkdir()
    pictures(media)
    # machines have an ssh server beforehand; they also get the environment, so that `make install` is quick
    python = {sys.base_prefix: Path(sys.base_prefix)}
    binds = python | {"/srv/raysift/.venv": ROOT / ".venv", "/srv/media": media, "/srv/results": results}
    head, worker = (network.machine(name, binds) for name in ("rayhead", "rayworker"))
    laptop = Laptop(network.machine("laptop", python))
    laptop.run("mkdir -m 700 ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
    key = laptop.run("cat ~/.ssh/id_ed25519.pub")
    for machine in (head, worker):
        machine.run(["bash", "-c", f"mkdir -p -m 700 ~/.ssh /etc/dropbear && echo '{key}' > ~/.ssh/authorized_keys"])
        machine.spawn(["dropbear", "-F", "-E", "-R", "-s", "-p", "22"])
    laptop.write(CONFIG, changed((ROOT / CONFIG).read_text(), head.address, worker.address))
    laptop.write(SETTINGS, yaml.safe_dump(own(yaml.safe_load((ROOT / SETTINGS).read_text()))))
    laptop.run("ray get-auth-token --generate")
    begun = time.monotonic()
    laptop.run(f"ray up -y {CONFIG}")
    yield Cluster(laptop, head, worker, results, time.monotonic() - begun)
    for machine in (head, worker, laptop.machine):
        machine.kill()


def changed(config: str, head: str, worker: str) -> str:
    """The launcher's file with this network's addresses and user at the lines marked with `<--`."""
    for key, value in {"head_ip": head, "worker_ips": f"[{worker}]", "ssh_user": "root"}.items():
        config, times = re.subn(rf"^( +{key}:) .* # <--", rf"\1 {value} # <--", config, flags=re.MULTILINE)
        assert times == 1, key
    return config


def own(settings: dict[str, object]) -> dict[str, object]:
    """The cluster's settings adapted to two small machines without a GPU, which share a folder."""
    chosen = {name: {"replicas": 1} if name in DETECTORS else {"enabled": False} for name in names()}
    return settings | {
        "profile": "embedded",
        "results_uri": "file:///srv/results",
        "galleries_uri": "file:///srv/results/galleries",
        "scanning": {"workers": 2, "worker_cpus": 0.5},  # Ray Data's own tasks need a whole CPU as well
        "detectors": chosen,
    }


def pictures(folder: Path) -> None:
    """Make a folder with an image for each of WORDS, which shows the word."""
    folder.mkdir()
    font = ImageFont.load_default(size=40)
    for word in WORDS:
        page = Image.new("RGB", (640, 360), "white")
        ImageDraw.Draw(page).text((30, 120), word, fill="black", font=font)
        page.save(folder / f"{word}.png")
