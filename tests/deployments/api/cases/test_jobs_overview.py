"""The overview of jobs: progress of those that run, and the summed reports of those that are over."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cluster.api_job_types import Report
from cluster.cases.overview import JobsOverview, LeftOut, LeftOutQuery
from deployments.api.cases.overview_routes import found_left_out, summarized
from deployments.jobs import folder
from deployments.jobs.job import Job
from pipelines.ledger.left_out import LeftOutFiles

LINKS = {"reason": "it is a link", "suffix": "", "count": 2, "examples": ["s3://b/1", "s3://b/2"]}
PDFS = {"reason": "it is no image", "suffix": ".xyz", "count": 5, "examples": ["s3://b/a.xyz"]}


@pytest.fixture
def out(tmp_path: Path) -> str:
    return tmp_path.as_uri()


def over(out: str, name: str, uri: str = "s3://b", retry_of: str | None = None, **report: Any) -> Job:
    """A finished job with a report."""
    folder.write(out, name, "report", {"units": 1, "skipped": 0} | report)
    return Job(name, (uri,), out, 1.0, state="finished", ended_at=2.0, retry_of=retry_of)


def usage(detector: str, seconds: float, cost: float | None = None) -> dict[str, Any]:
    return {"detector": detector, "units": 10, "reused": 1, "seconds": seconds, "gpu_seconds": 0.0, "cost": cost}


def overview(*jobs: Job, **counts: dict[str, int]) -> JobsOverview:
    return asyncio.run(summarized(jobs, counts, None))


def test_jobs_that_are_not_over_are_shown_with_their_progress(out: str):
    running = Job("a", ("s3://b",), out, 1.0, state="running", units=10)
    waiting = Job("b", ("s3://b",), out, 1.0)
    got = overview(running, waiting, a={"done": 4, "failed": 1})
    assert [(job.job, job.state, job.units, job.done, job.failed) for job in got.running] == [
        ("a", "running", 10, 4, 1),
        ("b", "waiting", None, 0, 0),
    ]
    assert (got.jobs, got.without_report, got.cost) == (2, 0, None)


def test_the_time_and_cost_of_a_detector_are_summed_over_jobs(out: str):
    first = over(out, "a", detectors=[usage("ocr", 1.5, 0.25), usage("face", 2.0)], cost=0.25)
    second = over(out, "b", detectors=[usage("ocr", 2.0, 0.5)], cost=0.5)
    got = overview(second, first)
    assert [(one.detector, one.units, one.seconds, one.cost) for one in got.detectors] == [
        ("face", 10, 2.0, None),
        ("ocr", 20, 3.5, 0.75),
    ]
    assert got.cost == 0.75


def test_what_several_scans_of_a_folder_left_out_is_counted_once(out: str):
    old = over(out, "old", left_out_groups=[LINKS])
    new = over(out, "new", left_out_groups=[LINKS, PDFS])
    retry = over(out, "retry", retry_of="new", uri="s3://c", left_out_groups=[LINKS])
    elsewhere = over(out, "elsewhere", uri="s3://c", left_out_groups=[LINKS])
    got = overview(retry, new, old, elsewhere)
    assert [(group.suffix, group.count) for group in got.left_out] == [(".xyz", 5), ("", 4)]
    assert got.left_out[1].examples == ("s3://b/1", "s3://b/2", "s3://b/1")


def test_jobs_without_a_readable_report_are_counted(out: str, tmp_path: Path):
    broken = over(out, "broken")
    (tmp_path / "_raysift" / "jobs" / "broken" / "report.json").write_text("{")
    died = Job("died", ("s3://b",), out, 1.0, state="failed", ended_at=2.0)
    assert overview(broken, died).without_report == 2


def leaves_out(out: str, name: str, *uris: str, reason: str = "it is no image", **job: Any) -> tuple[Job, Report]:
    """A finished job whose listing left these out."""
    with LeftOutFiles(f"{folder.place(out, name)}/left_out") as files:
        for uri in uris:
            files.add(uri, reason)
    return over(out, name, **job), Report()


def listed(*known: tuple[Job, Report], **query: Any) -> LeftOut:
    return found_left_out(known, LeftOutQuery(**query), None)


def test_what_the_newest_scan_of_each_folder_left_out_is_listed_file_by_file(out: str):
    old = leaves_out(out, "old", "s3://b/1.xyz")
    new = leaves_out(out, "new", "s3://b/1.xyz", "s3://b/2.xyz", "s3://b/3")
    elsewhere = leaves_out(out, "elsewhere", "s3://c/4", reason="it is a link", uri="s3://c")
    got = listed(new, elsewhere, old)
    assert [(file.uri, file.reason, file.job) for file in got.items] == [
        ("s3://b/1.xyz", "it is no image", "new"),
        ("s3://b/2.xyz", "it is no image", "new"),
        ("s3://b/3", "it is no image", "new"),
        ("s3://c/4", "it is a link", "elsewhere"),
    ]
    assert [file.uri for file in listed(new, elsewhere, suffix="", reason="it is no image").items] == ["s3://b/3"]
    assert [file.job for file in listed(new, old, job="old").items] == ["old"]
    few = listed(new, elsewhere, size=1)
    assert (few.total, len(few.items)) == (4, 1)


def test_a_job_that_left_nothing_out_has_an_empty_list(out: str):
    assert listed((over(out, "a"), Report())) == LeftOut(total=0, items=())
