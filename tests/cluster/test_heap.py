"""A process gives back the memory that it has freed."""

import subprocess
import sys

from deployments.serving.deployment import KEEP_BUFFERS
from tests.support.paths import ROOT

HOLD_AND_FREE = """
import psutil
from cluster import heap

def mb():
    return psutil.Process().memory_info().rss >> 20

before = mb()
held = [bytearray(b"x") * 100_000 for _ in range(1000)]
held = None
kept = mb()
heap.give_back()
print(kept - before, mb() - before)
"""


def test_what_a_detector_has_freed_stays_with_its_process_until_it_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", HOLD_AND_FREE], env=KEEP_BUFFERS, cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept_mb, left_mb = map(int, done.stdout.split())
    assert kept_mb > 80 and left_mb < 10
