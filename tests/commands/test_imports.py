"""What `raysift scan` and `raysift --help` load: nothing that they would only wait for."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.commands.test_raysift import JOB, RUNNING
from tests.support.paths import ROOT

HEAVY = ("ray", "torch", "transformers", "numpy", "pyarrow", "fsspec", "PIL", "boto3")
PROGRAM = f"""
import sys, raysift
try:
    raysift.main()
finally:
    print("loaded", *sorted(set({HEAVY}) & set(sys.modules)))
"""


class Api(BaseHTTPRequestHandler):
    """Takes every job, which is over when it is asked for."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self._answer({"job": "scan-1"})

    def do_GET(self):
        self._answer(RUNNING | JOB | {"state": "finished", "failed": 0})

    def _answer(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def running_api():
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def loaded(arguments, folder, **environment):
    """The heavy packages that a command has loaded when it exits with 0, and what it printed."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed, _, packages = done.stdout.rpartition("loaded")
    return packages.split(), printed


@pytest.mark.parametrize("command", ["", "scan", "jobs", "up", "status", "doctor", "evaluate", "export"])
def test_help_waits_for_no_heavy_package(command, tmp_path):
    packages, printed = loaded([*command.split(), "--help"], tmp_path)
    assert packages == [] and "Usage" in printed


def test_a_scan_is_submitted_and_followed_without_any_heavy_package(tmp_path):
    with running_api() as port:
        packages, printed = loaded(["scan", "media", "--out", "found"], tmp_path, RAYSIFT_API__PORT=str(port))
    assert packages == [] and "results: s3://found/x" in printed
