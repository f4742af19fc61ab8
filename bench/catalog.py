"""Measure the catalogue's queries over a million made-up files: `python -m bench.catalog [FILES]`.

It writes result files in the format of jobs, loads them as the catalogue does, and asks each query ROUNDS times, with
other values each time. It prints medians and 95th percentiles in ms, and exits 1 if one of these is above MUST_MS.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster.api_queries import AssetQuery
from cluster.results.codec import SCHEMA
from deployments.catalog.catalog import Catalog

FILES, FILES_EACH, ROUNDS, MUST_MS = 1_000_000, 50_000, 20, 200
LABELS, WORDS = 200, 5000
COMMON = "word0"  # every word is rarer than the one before it
console = Console(stderr=True)


def write(folder: Path, count: int) -> Path:
    """Write results of `count` files in 500 folders, nine tenths of them images, with detections of five detectors."""
    folder.mkdir(parents=True)
    for n in track(range(0, count, FILES_EACH), "writing results", console=console):
        pq.write_table(_rows(n, min(FILES_EACH, count - n)), folder / f"{n:09}.parquet")
    return folder


def _rows(first: int, count: int) -> pa.Table:
    pick, drawn = np.random.default_rng(first), random.Random(first)
    at = datetime(2026, 11, 1, tzinfo=UTC)
    kinds = pick.choice(["image", "video", "audio"], count, p=[0.9, 0.08, 0.02])
    rows = []
    for n, kind in enumerate(kinds.tolist(), first):
        found = [_found("clip", f"label {min(int(drawn.expovariate(0.05)), LABELS - 1)}", drawn.random(), None)]
        if drawn.random() < 0.3:
            found.append(_found("nsfw", "explicit", drawn.random() ** 3, None))
        if drawn.random() < 0.3:
            found.append(_found("face", "face", 0.5 + drawn.random() / 2, None))
        if drawn.random() < 0.4:
            words = (f"word{min(int(drawn.expovariate(0.003)), WORDS - 1)}" for _ in range(4))
            found.append(_found("ocr", "text", drawn.random(), " ".join(words)))
        if kind != "image":
            found.append(_found("whisper", "speech", drawn.random(), f"word{drawn.randrange(WORDS)} was said here"))
        rows.append(
            dict.fromkeys(SCHEMA.names)
            | {
                "unit_id": n,
                "job": f"job-{n // 200_000}",
                "sequence": 1_000_000 * (n // 200_000 + 1),
                "uri": f"s3://evidence/{n % 500:03}/{n:09}.jpg",
                "size": 1000 + n,
                "etag": f"{n:x}",
                "sha256": f"{n:064x}",
                "kind": kind,
                "width": 1280,
                "height": 720,
                "duration_s": 60.0 if kind != "image" else None,
                "detections": found,
                "errors": [{"step": "decode", "reason": "it is cut short"}] if n % 100 == 0 else [],
                "model_versions": [{"detector": name, "model": "m", "floor": 0.0} for name in DETECTORS],
                "analyzed_at": at,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


DETECTORS = ("clip", "face", "nsfw", "ocr", "whisper")


def _found(detector: str, label: str, score: float, text: str | None) -> dict[str, Any]:
    return {"detector": detector, "model": "m", "label": label, "score": score, "text": text, "propagated": False}


def queries(catalog: Catalog) -> Iterator[tuple[str, Callable[[int], Any]]]:
    """What each query is, and a call of it with the values of a round."""

    def page(**more: Any) -> Callable[[int], Any]:
        return lambda n: catalog.assets(
            AssetQuery(**{key: value(n) if callable(value) else value for key, value in more.items()})
        )

    def label(n: int) -> tuple[str, ...]:
        return (f"label {n}",)

    def folder(n: int) -> tuple[str, ...]:
        return (f"s3://evidence/{n:03}/",)

    yield "first page", page()
    yield "page 4,000", page(page=lambda n: 4000 + n)
    yield "a label, page", page(label=label)
    yield "two detectors in a folder, page", page(detector=("face", "ocr"), under=folder)
    yield "detector, score and kind, page", page(detector=("nsfw",), min_score=0.5, kind=("image",))
    yield "sort by score", page(sort="score", label=label)
    yield "sort by one detector's score", page(sort="score", detector=("nsfw",))
    yield "sort by name", page(sort="name", under=folder)
    yield "two conditions", page(where=lambda n: ("face:", f"clip:label {n}>=0.5"))
    yield "words in a condition", page(where=lambda n: (f"ocr:~word{n * 7}",))
    yield "facets", lambda n: catalog.facets(AssetQuery(size=10 + n))
    yield "facets of a label", lambda n: catalog.facets(AssetQuery(label=label(n)))
    yield "facets of a detector and a folder", lambda n: catalog.facets(AssetQuery(detector=("face",), under=folder(n)))
    yield "search, a common word", lambda n: catalog.text_search(COMMON, 40 + n)
    yield "search, a rare word", lambda n: catalog.text_search(f"word{4000 + n}")
    yield "search, no hit", lambda n: catalog.text_search(f"nothing{n}")
    ids = [item["id"] for item in catalog.assets(AssetQuery(size=ROUNDS + 1))["items"]]
    yield "one file", lambda n: catalog.asset(ids[n])


def main() -> None:
    """Write, load, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.catalog", description=__doc__)
    parser.add_argument("files", type=int, nargs="?", default=FILES)
    count = parser.parse_args().files
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        results = write(Path(place) / "results", count)
        catalog, began = Catalog(Path(place) / "catalog.duckdb"), time.monotonic()
        catalog.load_all(results.as_uri())
        console.print(f"loaded {count} files in {time.monotonic() - began:.0f} s")
        table, late = Table("query", "median ms", "95th percentile ms"), []
        for name, call in queries(catalog):
            call(ROUNDS)  # the first one reads from disk
            took = []
            for n in range(ROUNDS):
                asked = time.perf_counter()
                call(n)
                took.append(1000 * (time.perf_counter() - asked))
            median, high = np.percentile(took, (50, 95))
            table.add_row(name, f"{median:.0f}", f"{high:.0f}")
            late += [name] if high > MUST_MS else []
        catalog.close()
    Console().print(table)
    if late:
        raise SystemExit(f"above {MUST_MS} ms: {', '.join(late)}")


if __name__ == "__main__":
    main()
