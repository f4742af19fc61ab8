"""The real API in a process of its own, without a cluster: a browser test's app asks it."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tests.support.browser import free_port
from tests.support.local_api import local_api
from tests.support.paths import ROOT
from tests.support.servers.process import running_server


@contextmanager
def api_process(state: Path, results: Path, port: int = 0, **environment: str) -> Iterator[int]:
    """Run the API with its state in a folder, and the results of another one in its catalogue; yields the port.

    `port`: 0 for a free one.
    """
    port = port or free_port()
    command = [sys.executable, "-m", __name__, "--port", str(port), "--state", str(state), "--results", str(results)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with running_server(command, f"http://127.0.0.1:{port}/v1/health", 90, env=env):
        yield port


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
