"""A real Chroma server for tests: a child process with its own folder and port."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 120  # of a machine that runs other tests meanwhile


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def chroma(folder: Path, port: int | None = None) -> Iterator[Server]:
    """Up when it answers its heartbeat, gone at the end. The same folder and port again: the same server, restarted."""
    port = port or free_port()
    arguments = ["chroma", "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    # what the script `chroma` calls, without the import of the whole client before it
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
    """The URL of a server that takes every connection and never answers."""
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
