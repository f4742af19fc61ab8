"""S3 faults during a scan: every file is fetched completely and unchanged, and every result is stored."""

import hashlib
from pathlib import Path

import pytest

from tests.chaos.conftest import Broken, pages, started

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

PLANNED = {"500": 2, "503": 3, "hang": 1, "truncated": 1, "reset": 1, "flipped": 1}  # fault -> times per file
FILES_EACH = 2  # files with each fault


def test_faulty_reads_are_retried_until_the_content_is_correct(broken: Broken, tmp_path, report):
    folder = pages(tmp_path / "media", "a bad network", len(PLANNED) * FILES_EACH + 2)
    kinds = [kind for kind in PLANNED for _ in range(FILES_EACH)]
    store = broken.seaweed.client()
    store.create_bucket(Bucket="faulty")
    for n, file in enumerate(sorted(folder.iterdir())):
        store.upload_file(str(file), "faulty", f"media/{file.name}")
        if n < len(kinds):
            broken.faults.planned["GET", f"/media/{file.name}"] = kinds[n], PLANNED[kinds[n]]
    broken.faults.planned["GET", "/faulty"] = "503", 1  # and the listing
    scan = started(broken, "s3://faulty/media", str(tmp_path / "out"), in_the_middle=False)
    job = scan.until_over()
    assert job["state"] == "finished" and job["failed"] == 0, job
    assert scan.check()["failed"] == 0
    assert {kind: broken.faults.times(kind) for kind in PLANNED} == {
        kind: FILES_EACH * times + (kind == "503") for kind, times in PLANNED.items()
    }
    lines = broken.cluster.export(scan.out)
    assert {name: line["sha256"] for name, line in lines.items()} == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()
    }
    report("S3 answers badly", whole_job_s=job["seconds"])


def test_writes_to_a_busy_bucket_are_retried(broken: Broken, tmp_path: Path):
    folder = pages(tmp_path / "media", "a busy bucket", 12)
    broken.seaweed.client().create_bucket(Bucket="busy")
    done = broken.faults.times("503")
    broken.faults.planned["PUT", ".parquet"] = "503", 2
    try:
        out = "s3://busy/found"
        scan = started(broken, folder, out, in_the_middle=False)
        job = scan.until_over()
    finally:
        del broken.faults.planned["PUT", ".parquet"]
    assert job["state"] == "finished" and job["failed"] == 0, job
    assert broken.faults.times("503") > done
    assert len(broken.cluster.export(out)) == 12
