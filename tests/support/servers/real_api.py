"""The real API in a process of its own, without a cluster: a browser test's app asks it."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tests.support.browser import answers, free_port
from tests.support.local_api import local_api
from tests.support.paths import ROOT


@contextmanager
def api_process(state: Path, results: Path, **environment: str) -> Iterator[int]:
    """Run the API with its state in a folder, and the results of another one in its catalogue; yields the port."""
    port = free_port()
    command = [sys.executable, "-m", __name__, "--port", str(port), "--state", str(state), "--results", str(results)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 90
        while not answers(f"http://127.0.0.1:{port}/v1/health"):
            assert time.monotonic() < deadline and process.poll() is None, "the API did not start"
            time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Serve until this process is killed."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int)
    options.add_argument("--state", type=Path)
    options.add_argument("--results", type=Path)
    chosen = options.parse_args()
    with local_api(chosen.state) as api:
        api.catalog.load_all(chosen.results.as_uri(), None)
        uvicorn.run(api.app, host="127.0.0.1", port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
