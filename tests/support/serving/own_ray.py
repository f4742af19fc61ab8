"""Run programs that start a Ray cluster of their own."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.paths import ROOT


def run_in_own_ray(module: str) -> Any:
    """Run `python -m MODULE` without the variables of the session's cluster; returns the JSON of its last line.

    AssertionError with its stderr if it fails.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-m", module]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])
