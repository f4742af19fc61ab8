"""Programs that start a Ray cluster of their own."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.paths import ROOT


def run_in_own_ray(module: str) -> Any:
    """Run a module as a program, outside of the session's cluster; the JSON of the last line that it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-m", module]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])
