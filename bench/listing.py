"""How fast a bucket is listed into a ledger, and in how much memory: `python -m bench.listing 1000000`.

The bucket is a server of tests/support/servers/many_objects.py in a process of its own: the figures are of the
listing alone.
"""

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from cluster.records import ModelVersion
from pipelines.ledger.listing import write_ledger
from pipelines.ledger.stored import stored
from tests.support.servers.many_objects import CREDENTIALS, lister_apart

TELL_EVERY = 100_000
WANTED = {
    name: ModelVersion(name, "model", 0.1) for name in ("clip", "face", "logo", "nsfw", "ocr", "restraint", "whisper")
}


def main() -> None:
    """List, and print a line every TELL_EVERY objects: objects, objects per second, MB now and at most."""
    parser = argparse.ArgumentParser(prog="python -m bench.listing", description=__doc__)
    parser.add_argument("objects", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--a-folder", type=int, default=10_000, help="objects in each folder")
    asked = parser.parse_args()
    os.environ.update(CREDENTIALS)
    process, begun = psutil.Process(), time.monotonic()
    told, most = 0, 0

    def tell(listed: int) -> None:
        nonlocal told, most
        now = process.memory_info().rss >> 20
        most = max(most, now)
        if listed - told >= TELL_EVERY or listed == asked.objects:
            told = listed
            rate = listed / (time.monotonic() - begun)
            print(f"{listed:>12,} objects {rate:>8,.0f} a second {now:>6,} MB now {most:>6,} MB at most", flush=True)

    with TemporaryDirectory() as folder, lister_apart(asked.objects, asked.a_folder) as endpoint:
        places = f"{folder}/ledger", f"{folder}/uncut"
        listed = write_ledger(["s3://bucket/in"], *places, stored(f"{folder}/out"), WANTED, 60.0, endpoint, tell)
        written = sum(file.stat().st_size for file in Path(places[0]).iterdir()) / 1e6
        print(f"{listed}; {written:.1f} MB of ledger in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
