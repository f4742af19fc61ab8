"""A cluster whose nodes come and go: Ray's own autoscaler with its provider of nodes that are processes here.

`python -m chaos.autoscaler` deploys Raysift's application on the cluster that its environment names.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cluster.processes import FAMILY, ROOT, Processes

_LAUNCHER = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "0",  # its provider of such nodes reads a file that the wheel lacks
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
}


@contextmanager
def autoscaled(processes: Processes, environment: dict[str, str], nodes: int) -> Iterator[None]:
    """The application, on a head without a card and up to so many nodes with one logical card each."""
    processes.prepare()
    environment = {**environment, **processes.environment(), **_LAUNCHER, FAMILY: str(processes.state)}
    tests = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] += f"{os.pathsep}{tests}"
    config = processes.state / "autoscaling.json"
    config.write_text(json.dumps(_config(environment["RAY_ADDRESS"], nodes)))
    ray = processes.settings.ray
    head = (
        "ray start --head --block --disable-usage-stats --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 "
        f"--port={ray.gcs_port} --dashboard-port={ray.dashboard_port} --temp-dir={processes.ray_temp} "
        f"--num-cpus=4 --num-gpus=0 --object-store-memory=200000000 --autoscaling-config={config} "
        "--dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0"
    )
    try:
        with (processes.state / "ray.log").open("ab") as log:
            subprocess.Popen(
                head.split(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment,
                start_new_session=True,
            )  # fmt: skip
        deploy = [sys.executable, "-m", "chaos.autoscaler"]
        done = subprocess.run(deploy, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
        yield
    finally:
        processes.stop()


def _config(address: str, nodes: int) -> dict[str, object]:
    empty_lists = (
        "initialization_commands setup_commands head_setup_commands worker_setup_commands head_start_ray_commands "
        "worker_start_ray_commands cluster_synced_files rsync_exclude rsync_filter"
    )
    return {
        "cluster_name": "processes",
        "max_workers": nodes,
        "upscaling_speed": 10.0,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 4}, "node_config": {}, "max_workers": 0},
            "card": {
                "resources": {"CPU": 2, "GPU": 1, "object_store_memory": 80_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": nodes,
            },
        },
        "auth": {"ssh_user": "nobody"},  # with a key that is not there its launcher dies in silence
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{key: [] for key in empty_lists.split()},
    }


def _deploy() -> None:
    import time

    import ray
    from ray import serve

    from cluster.settings import load
    from deployments.serving import APP
    from pipelines.online import build

    settings = load()
    deadline = time.monotonic() + 90
    while not _answers(f"{settings.ray.dashboard_url}/api/gcs_healthz"):
        assert time.monotonic() < deadline, "Ray did not start"
        time.sleep(0.2)
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    serve.start(proxy_location="HeadOnly", http_options={"host": settings.door.host, "port": settings.door.port})
    serve.run_many([serve.RunTarget(target=build(settings), name=APP, route_prefix="/")])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    _deploy()
