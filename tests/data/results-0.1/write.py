"""Write this folder's results with the code of version 0.1: `PYTHONPATH=CHECKOUT python write.py FOLDER`.

CHECKOUT is commit 91c0096. It does not run with today's code: the names are those of that version. See README.md.
"""

import sqlite3
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deployments.job_store import Job, JobStore
from pipelines.listing import LEDGER
from pipelines.scanning import Task

from cluster import results
from cluster.records import (
    SCHEMA,
    Analyzer,
    Detection,
    Failure,
    Finding,
    MediaItem,
    Result,
    Segment,
    Spent,
    Vector,
    to_row,
)
from cluster.settings import Prices
from deployments import job_folder
from deployments.catalog import Catalog
from pipelines import reporting

JOB = "scan-20261122-120000-abcdef"
BUCKET = "s3://evidence"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
chance = np.random.default_rng(1)


def vector(space, length):
    return (Vector(space, tuple(round(float(x), 3) for x in chance.normal(size=length))),)


def answered(*names):
    return tuple(Analyzer(name, "m1", 0.25 if name == "nsfw" else None) for name in names)


def spent(*names):
    return tuple(Spent(name, 1.5, 0.0, reused=name == "ocr") for name in names)


def image(n, *findings, failures=(), names=("clip", "face", "nsfw", "ocr"), **more):
    item = MediaItem(f"{BUCKET}/images/{n}.jpg", 1000 + n, f"etag-{n}", None if failures else "image")
    known = {} if failures else {"sha256": f"{n:064x}", "width": 640, "height": 480, "frames": 1}
    return Result(
        item, findings=findings, failures=failures, analyzers=answered(*names), spent=spent(*names), **known, **more
    )


def film(n):
    item = MediaItem(f"{BUCKET}/film.mp4", 900_000, "etag-film", "video")
    begin = 60.0 * n
    segment = Segment(n, 2, 60.0, begin, begin + 60 if n == 0 else None, begin - 0.04 if n else None, begin, None)
    seen = Detection("nude", 0.8, None, begin + 1)
    return Result(
        item,
        segment,
        width=1280,
        height=720,
        duration_s=110.5,
        frames=60,
        frames_carried=20,
        findings=(
            Finding("nsfw", "m1", seen),
            Finding("nsfw", "m1", replace(seen, time_s=begin + 2), carried=True),
            Finding("clip", "m1", Detection("frame", 1.0, None, begin + 1, vectors=vector("looks", 8))),
            Finding("whisper", "m1", Detection("speech", 0.9, span=(begin, begin + 3), text=f"part {n}")),
        ),
        analyzers=answered("clip", "nsfw", "whisper"),
        spent=spent("clip", "nsfw", "whisper"),
        thumbnail=b"a JPEG" if n == 0 else None,
    )


def main(folder):
    out = folder.resolve().as_uri()
    first = [
        image(
            1,
            Finding("nsfw", "m1", Detection("nude", 0.9, (0.1, 0.2, 0.3, 0.4))),
            Finding(
                "ocr", "m1", Detection("text", 0.7, (0.0, 0.0, 1.0, 0.5), text="Invoice 42", vectors=vector("words", 6))
            ),
            Finding("clip", "m1", Detection("image", 1.0, vectors=vector("looks", 8))),
            Finding("face", "m1", Detection("face", 0.99, (0.4, 0.1, 0.6, 0.4), vectors=vector("faces", 4))),
            Finding("face", "m1", Detection("Ada", 0.8, (0.4, 0.1, 0.6, 0.4), evidence="distance 0.2 to ada.jpg")),
            thumbnail=b"a JPEG",
        ),
        image(2, Finding("clip", "m1", Detection("image", 1.0, vectors=vector("looks", 8)))),
        image(3, failures=(Failure("fetch", "the file is gone"),), names=()),
    ]
    # nsfw answers again for the first image, later: this answer counts
    later = [image(1, Finding("nsfw", "m2", Detection("suggestive", 0.6)), names=())]
    later = [replace(later[0], analyzers=(Analyzer("nsfw", "m2", 0.25),), spent=(Spent("nsfw", 0.5, 0.25),))]
    blocks = [(JOB, 0, first), (JOB, 10, [film(0), film(1)]), ("scan-20261123-090000-fedcba", 1260, later)]
    files, place = results.sink(out)
    files.create_dir(place, recursive=True)
    unit = 0
    for at, (job, minutes, told) in enumerate(blocks):
        rows = []
        for result in told:
            unit += 1
            rows.append(to_row(result, unit, job) | {"analyzed_at": NOON + timedelta(minutes=minutes, seconds=unit)})
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), f"{place}/0a1b2c_{at:06}-0.parquet", filesystem=files)
    task = Task((BUCKET,), ("clip", "face", "nsfw", "ocr", "whisper"), None, NOON.timestamp(), True, 5, 2)
    job_folder.write(out, JOB, "job", asdict(task))
    page = Job(JOB, (BUCKET,), "s3://results/0.1", NOON.timestamp(), state="parked", units=5, skipped=2,
               waits_for=("ocr",), attempts=(JOB,), started_at=NOON.timestamp())  # fmt: skip
    job_folder.write(out, JOB, "queue", {"cluster": "raysift", **asdict(page)})
    reporting.write(out, JOB, reporting.report(out, JOB, 5, 2, 660.0, Prices(cpu_hour=1.0)))
    ledger = job_folder.place(out, JOB) + "/ledger"
    to, path = results.buckets.filesystem(ledger)
    to.create_dir(path, recursive=True)
    owed = [
        {"unit_id": n, "uri": r.item.uri, "size": r.item.size, "etag": r.item.etag, "kind": r.item.kind,
         "detectors": [a.detector for a in r.analyzers], "reason": "new", "sha256": None,
         "segment": None if r.segment is None else asdict(r.segment)}
        for n, r in enumerate([*first, film(0), film(1)], 1)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(owed, LEDGER), f"{path}/000000.parquet", filesystem=to)
    catalog = Catalog(folder / "state" / "catalog.duckdb")
    print(catalog.load_all(out), "rows")
    catalog.close()
    store = JobStore(folder / "state" / "jobs.sqlite")
    store.put(page)
    store.close()
    database = sqlite3.connect(folder / "state" / "jobs.sqlite")
    database.execute("pragma journal_mode=delete")
    database.close()
    (folder / "settings.yaml").write_text(
        "door:\n  port: 8100\ndecoding:\n  stall_s: 45\nscanning:\n  patience_s: 600\n  at_once: 4\n"
    )


main(Path(sys.argv[1]))
