"""Run a real Chroma server for tests, as a child process with its own folder and port."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 120  # other tests run on the machine at the same time


@dataclass
class Server:
    """A running Chroma server."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Send SIGKILL and wait for the end of the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def chroma(folder: Path, port: int | None = None) -> Iterator[Server]:
    """Yield a server that answers its heartbeat, and kill it at the end. Starting one again with the same folder and
    port restarts the same server.
    """
    port = port or free_port()
    arguments = ["chroma", "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    # what the script `chroma` calls, without importing the whole client first, which is slow
    command = [sys.executable, "-c", f"import chromadb_rust_bindings; chromadb_rust_bindings.cli({arguments!r})"]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        server = Server(f"http://127.0.0.1:{port}", subprocess.Popen(command, stdout=log, stderr=log))
    try:
        deadline = time.monotonic() + START_S
        while not _answers(server.url):
            assert server.process.poll() is None, "chroma ended while it was starting"
            assert time.monotonic() < deadline, f"chroma did not answer within {START_S} s"
            time.sleep(0.05)
        yield server
    finally:
        server.kill()


@contextmanager
def silent() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/heartbeat", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    """An unused TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
