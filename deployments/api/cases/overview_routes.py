"""The API's routes for the overview: the files, and the jobs over them."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Query

from cluster.api_job_types import DetectorUsage, LeftOutGroup, Report
from cluster.cases.overview import (
    JobProgress,
    JobsOverview,
    LeftOut,
    LeftOutFile,
    LeftOutQuery,
    Overview,
    OverviewQuery,
)
from cluster.errors import SettingsError
from cluster.records import OVER
from cluster.settings import Settings
from deployments.access.roles import Viewer
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.jobs import folder
from deployments.jobs.job import Job

MOST_JOBS = 100  # the newest, whose reports are summed
MOST_GROUPS = 50  # of what was left out
MOST_EXAMPLES = 3  # of a group
REPORTS_READ = 16  # in parallel: a bucket takes some 50 ms to answer


class OverviewRoutes(CaseRoutes):
    """The routes of the overview; the API that inherits them has the catalogue and the jobs."""

    settings: Settings
    jobs: TimedHandle
    catalog: TimedHandle

    @api.get("/v1/overview")
    async def overview(self, query: Annotated[OverviewQuery, Query()], who: Viewer) -> Overview:
        """What is in the files that pass the filters: by kind, detector, label, score and day, and why files failed."""
        within = await self.within(query.case, who)
        return Overview(**await self.catalog.overview.remote(query, within))

    @api.get("/v1/overview/jobs")
    async def jobs_overview(self, case: str | None = None, *, who: Viewer) -> JobsOverview:
        """What the newest jobs did: progress of those that run; what was left out, and each detector's time and cost.

        With `case`, or for a limited caller: the jobs that are wholly in the folders of the case or caller.
        """
        within = await self.within(case, who)
        newest, counts = await asyncio.gather(self.jobs.newest.remote(MOST_JOBS, within), self.catalog.jobs.remote())
        return await summarized(newest, counts, self.settings.s3_endpoint)

    @api.get("/v1/left-out")
    async def left_out(self, query: Annotated[LeftOutQuery, Query()], who: Viewer) -> LeftOut:
        """The files and folders that the newest job over each set of folders left out, and why; or those of a job.

        With `case`, or for a limited caller: of jobs that are wholly in the folders of the case or caller.
        """
        within = await self.within(query.case, who)
        newest = await self.jobs.newest.remote(MOST_JOBS, within)
        known = await _reports(newest, self.settings.s3_endpoint)
        return await asyncio.to_thread(found_left_out, known, query, self.settings.s3_endpoint)


async def summarized(newest: Sequence[Job], counts: dict[str, Any], s3_endpoint: str | None) -> JobsOverview:
    """The overview of these jobs, the newest first. `counts`: of each job's results, from the catalogue."""
    known = await _reports(newest, s3_endpoint)
    costs = [report.cost for _, report in known if report.cost is not None]
    return JobsOverview(
        jobs=len(newest),
        running=tuple(_progress(job, counts.get(job.job, {})) for job in newest if job.state not in OVER),
        left_out=_left_out(known),
        detectors=_usage(report for _, report in known),
        cost=round(sum(costs), 4) if costs else None,
        without_report=sum(job.state in OVER for job in newest) - len(known),
    )


async def _reports(newest: Sequence[Job], s3_endpoint: str | None) -> list[tuple[Job, Report]]:
    """Those of the jobs that are over and have a readable report, with it."""
    turn = asyncio.Semaphore(REPORTS_READ)

    async def report_of(job: Job) -> Report | None:
        async with turn:
            try:
                return await asyncio.to_thread(_report, job.out, job.job, job.ended_at, s3_endpoint)
            except SettingsError:
                return None

    ended = [job for job in newest if job.state in OVER]
    reports = await asyncio.gather(*(report_of(job) for job in ended))
    return [(job, report) for job, report in zip(ended, reports, strict=True) if report is not None]


@lru_cache(maxsize=10 * MOST_JOBS)
def _report(out: str, job: str, ended_at: float | None, s3_endpoint: str | None) -> Report | None:
    """The report of a job that ended at that time, which does not change any more; None if its driver wrote none.

    SettingsError if it cannot be read now.
    """
    facts = folder.read(out, job, "report", s3_endpoint)
    return None if facts is None else Report(**facts)


def _progress(job: Job, counts: dict[str, int]) -> JobProgress:
    done, failed = counts.get("done", 0), counts.get("failed", 0)
    return JobProgress(job=job.job, state=job.state, units=job.units, done=done, failed=failed)


def _newest_listings(known: Iterable[tuple[Job, Report]]) -> Iterator[tuple[Job, Report]]:
    """The newest job over each set of folders. A retry lists no folders."""
    listed: set[frozenset[str]] = set()
    for job, report in known:
        folders = frozenset(job.uris)
        if job.retry_of is None and folders not in listed:
            listed.add(folders)
            yield job, report


def found_left_out(known: Iterable[tuple[Job, Report]], query: LeftOutQuery, s3_endpoint: str | None) -> LeftOut:
    """What these jobs, the newest first, left out; SettingsError if a job's list of it cannot be read."""
    of = _newest_listings(known) if query.job is None else ((job, told) for job, told in known if job.job == query.job)
    items: list[LeftOutFile] = []
    total = 0
    for job, _ in of:
        for batch in folder.left_out(job.out, job.job, s3_endpoint):
            asked = _asked(batch, query)
            total += len(asked)
            rows = asked.slice(0, query.size - len(items)).to_pylist()
            items += [LeftOutFile(**row, job=job.job) for row in rows]
    return LeftOut(total=total, items=tuple(items))


def _asked(batch: pa.RecordBatch, query: LeftOutQuery) -> pa.RecordBatch:
    for name, value in (("reason", query.reason), ("suffix", query.suffix)):
        batch = batch if value is None else batch.filter(pc.equal(batch[name], value))
    return batch


def _left_out(known: Iterable[tuple[Job, Report]]) -> tuple[LeftOutGroup, ...]:
    """What the newest job over each set of folders left out, by reason and suffix."""
    groups: dict[tuple[str, str], LeftOutGroup] = {}
    for _, report in _newest_listings(known):
        for group in report.left_out_groups:
            before = groups.get((group.reason, group.suffix))
            count = group.count + (before.count if before else 0)
            examples = ((before.examples if before else ()) + group.examples)[:MOST_EXAMPLES]
            new = LeftOutGroup(reason=group.reason, suffix=group.suffix, count=count, examples=examples)
            groups[group.reason, group.suffix] = new
    return tuple(sorted(groups.values(), key=lambda group: -group.count)[:MOST_GROUPS])


def _usage(reports: Iterable[Report]) -> tuple[DetectorUsage, ...]:
    """The time and cost of each detector in all these jobs, by name."""
    summed: dict[str, DetectorUsage] = {}
    for usage in (usage for report in reports for usage in report.detectors):
        before = summed.get(usage.detector, DetectorUsage(detector=usage.detector))
        costs = [cost for cost in (before.cost, usage.cost) if cost is not None]
        summed[usage.detector] = DetectorUsage(
            detector=usage.detector,
            units=before.units + usage.units,
            reused=before.reused + usage.reused,
            seconds=round(before.seconds + usage.seconds, 3),
            gpu_seconds=round(before.gpu_seconds + usage.gpu_seconds, 3),
            cost=round(sum(costs), 4) if costs else None,
        )
    return tuple(summed[name] for name in sorted(summed))
