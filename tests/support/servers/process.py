"""A server as a process of its own, from its first answer to the end of a test."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx


@contextmanager
def running_server(command: Sequence[str], url: str, start_s: float, **options: Any) -> Iterator[None]:
    """Run a server and kill it at the end. The block begins when a GET of `url` succeeds, within `start_s` seconds.

    `options`: of subprocess.Popen.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    try:
        deadline = time.monotonic() + start_s
        while not answers(url):
            assert time.monotonic() < deadline and process.poll() is None, f"{url} did not answer"
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    """Whether a GET of the URL returns a 2xx status."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False
