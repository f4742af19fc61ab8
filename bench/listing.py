"""Measure the rate and memory of listing a bucket into a ledger: `python -m bench.listing 1000000`.

The bucket is a server of tests/support/servers/many_objects.py in a child process, so that only the listing is
measured.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from cluster.records import ModelVersion
from pipelines.ledger.left_out import LeftOutFiles
from pipelines.ledger.listing import Places, write_ledger
from pipelines.ledger.stored import stored
from tests.support.servers.many_objects import CREDENTIALS, lister_apart

PRINT_EVERY = 100_000
WANTED = {
    name: ModelVersion(name, "model", 0.1) for name in ("clip", "face", "logo", "nsfw", "ocr", "restraint", "whisper")
}


def main() -> None:
    """List, and print a line every PRINT_EVERY objects: objects, objects per second, current and peak memory in MB."""
    parser = argparse.ArgumentParser(prog="python -m bench.listing", description=__doc__)
    parser.add_argument("objects", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--a-folder", type=int, default=10_000, help="objects in each folder")
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    process, begun = psutil.Process(), time.monotonic()
    printed, peak = 0, 0

    def report(listed: int) -> None:
        nonlocal printed, peak
        now = process.memory_info().rss >> 20
        peak = max(peak, now)
        if listed - printed >= PRINT_EVERY or listed == options.objects:
            printed = listed
            rate = listed / (time.monotonic() - begun)
            print(f"{listed:>12,} objects {rate:>8,.0f} per second {now:>6,} MB now {peak:>6,} MB peak", flush=True)

    with TemporaryDirectory() as folder, lister_apart(options.objects, options.a_folder) as endpoint:
        places = f"{folder}/ledger", f"{folder}/uncut"
        where, left_out = Places(("s3://bucket/in",)), LeftOutFiles()
        listed = write_ledger(where, *places, left_out, stored(f"{folder}/out"), WANTED, 60.0, endpoint, report)
        written = sum(file.stat().st_size for file in Path(places[0]).iterdir()) / 1e6
        print(f"{listed}; {written:.1f} MB of ledger in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
