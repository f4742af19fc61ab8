"""The child processes of a cluster on one machine: Ray, Chroma, the app. They are detached, and stopped together."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import psutil

from cluster.access.secret_variables import environment_without_secrets
from cluster.access.tokens import KEY_VARIABLES
from cluster.chroma_guard import TOKEN_VARIABLE
from cluster.chroma_guard.credential import chroma_token
from cluster.errors import SettingsError
from cluster.settings import Listener, Settings

ROOT = Path(__file__).parents[1]
FAMILY = "CLUSTER_OF_RAYSIFT"  # environment variable of the processes that `up` starts and of their descendants only
LOADED_S = 0.5  # while its program is being loaded, the kernel shows no environment of a child
STOP_S = 10.0  # from SIGTERM to SIGKILL
STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
# Ray's defaults are for large clusters: 30 s, 0.1 s and 100 ms. The last two take a tenth of a core of an idle one.
_RAY = {
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # the death of a replica is noticed so much later, at most
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
}


class Processes:
    """The processes of one cluster, identified by its state folder: `up` starts them, `down` finds them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = settings.state_dir.absolute()
        self.file = self.state / "processes.json"
        # of Ray's sockets, too: the path of a socket is limited to 107 characters
        self.ray_temp = Path("/tmp") / f"raysift-{sha256(str(self.state).encode()).hexdigest()[:8]}"

    @property
    def token_file(self) -> Path:
        """The file of the token of Ray's dashboard and Jobs API, created at the first start, for its owner only."""
        return self.state / "ray_token"

    def environment(self) -> dict[str, str]:
        """Environment variables that connect a process, such as `ray job submit`, to this cluster."""
        return {
            "RAYSIFT_STATE_DIR": str(self.state),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_ADDRESS": f"127.0.0.1:{self.settings.ray.gcs_port}",
            "RAY_API_SERVER_ADDRESS": self.settings.ray.dashboard_url,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: everything on the loopback address
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # otherwise `uv run` makes an environment for every worker
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",  # the default of ten is too many for the few files of a ledger
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.api.http_proxy.middlewares",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    def prepare(self) -> None:
        """Stop leftovers, create state folder and token. SettingsError if a port is taken or the cluster is running."""
        if self.alive():
            raise SettingsError(f"Raysift is already running (state in {self.state}). Stop it with `raysift down`.")
        self.prepare_folder("api", "chroma", "app")
        _check_free(self.settings.ray.gcs_port, "ray.gcs_port")
        _check_free(self.settings.ray.dashboard_port, "ray.dashboard_port")
        if not self.token_file.exists():
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(secrets.token_hex(32))
        os.environ.update(self.environment())

    def prepare_folder(self, *parts: str) -> None:
        """Stop leftovers of this cluster and create its state folder. SettingsError if the port of a part is taken."""
        self.stop()
        for key in parts:
            listener: Listener = getattr(self.settings, key)
            _check_free(listener.port, f"{key}.port", listener.host)
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)  # holds secrets, texts, vectors

    def start_ray(self) -> None:
        """Start Ray's head, the only node of a cluster on one machine."""
        ray = self.settings.ray
        command = (
            "ray start --head --block --disable-usage-stats --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 "
            f"--port={ray.gcs_port} --dashboard-port={ray.dashboard_port} --temp-dir={self.ray_temp} "
            # any free port: the default is the same for every Ray of a machine, and only the first one takes jobs
            "--dashboard-agent-listen-port=0 "
            "--include-log-monitor=false "  # it would repeat the workers' lines on the consoles of drivers
            f"--num-cpus={ray.cpus or max(4, os.cpu_count() or 1)} "
            f"--object-store-memory={ray.object_store_mb * 1_000_000}"
        )
        self._start("ray", command.split())

    def start_chroma(self) -> None:
        """Start Chroma's server behind its guard, the only process that may open Chroma's folder.

        SettingsError if there is no token for it: without one, other users of this machine could read all vectors.
        """
        where = self.settings.chroma
        token = chroma_token(self.settings)
        if not token:
            raise SettingsError("Chroma needs a token: run `ray get-auth-token --generate`, or set chroma.token.")
        path = str(self.state / "chroma")
        command = [sys.executable, "-m", "cluster.chroma_guard", "--path", path]
        self._start("chroma", [*command, "--host", where.host, "--port", str(where.port)], **{TOKEN_VARIABLE: token})

    def start_app(self) -> None:
        """Start the web app."""
        where = self.settings.app
        page = str(ROOT / "app" / "serve.py")
        self._start("app", ["streamlit", "run", page, "--server.address", where.host, "--server.port", str(where.port)])

    def _start(self, name: str, command: list[str], **more: str) -> None:
        """Start a detached process with the cluster's environment and `more` variables; its output goes to a log.

        Only Ray's processes, of which some are the head's, inherit secrets.
        """
        log = self.state / f"{name}.log"
        if name == "ray":
            inherited = {key: value for key, value in os.environ.items() if key != KEY_VARIABLES[0]}  # of commands only
        else:
            inherited = environment_without_secrets()
        with log.open("ab") as sink:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=ROOT,
                env={**inherited, **self.environment(), FAMILY: str(self.state), **_RAY, **more},
                start_new_session=True,
                preexec_fn=_default_signals,
            )
        self.file.write_text(json.dumps(self._pids() | {name: child.pid}))

    def _pids(self) -> dict[str, int]:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return dict(json.loads(self.file.read_text()))
        return {}

    def alive(self) -> dict[str, int]:
        """Part -> process id, of the parts that run."""
        return {name: pid for name, pid in self._pids().items() if self._is_ours(pid)}

    def _is_ours(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            deadline = time.monotonic() + LOADED_S
            while not (environment := process.environ()) and process.ppid() == os.getpid():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            return process.status() != psutil.STATUS_ZOMBIE and environment.get(FAMILY) == str(self.state)
        except psutil.Error:
            return False

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = 90) -> None:
        """Wait until a part is `ready`. SettingsError with the end of its log if it dies or takes too long."""
        deadline = time.monotonic() + seconds
        while not ready():
            if name not in self.alive() or time.monotonic() > deadline:
                log = self.state / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise SettingsError(f"{name} did not start; the end of {log}:\n{tail}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop every process of this cluster, also orphans, and delete Ray's temporary folder."""
        family = [p for p in psutil.process_iter() if p.pid != os.getpid() and self._is_ours(p.pid)]
        heads = set(self.alive().values())
        for signalled in ([p for p in family if p.pid in heads], family):
            for process in signalled:
                with contextlib.suppress(psutil.Error):
                    process.terminate()
            _, family = psutil.wait_procs(family, timeout=STOP_S / 2)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=STOP_S)
        self.file.unlink(missing_ok=True)
        shutil.rmtree(self.ray_temp, ignore_errors=True)


def _default_signals() -> None:
    """Reset the signals that stop a process to their default action in a child. It would inherit ignored ones:
    SIGINT of a script's background jobs, SIGHUP under nohup, and those of `trap ''`.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)


def port_open(listener: Listener) -> bool:
    """Whether a server accepts connections at this address."""
    with contextlib.suppress(OSError), socket.create_connection((listener.host, listener.port), timeout=1):
        return True
    return False


def _check_free(port: int, key: str, host: str = "127.0.0.1") -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            variable = f"RAYSIFT_{key.upper().replace('.', '__')}"
            raise SettingsError(
                f"{host}:{port} ({key}) cannot be used: {error.strerror}. Free it, or set another with {variable}=..."
            ) from None
