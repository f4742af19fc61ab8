"""Simulated jobs of the fake API: each has 120 files, finishes six a second, and every 30th file fails."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import HTTPException, Query
from fastapi.responses import PlainTextResponse

from cluster.api_job_types import (
    DetectorProgress,
    DetectorUsage,
    Estimate,
    JobDetails,
    JobInfo,
    JobName,
    LeftOutGroup,
    PlannedDetector,
    PlannedFiles,
    Reason,
    Report,
    ScanPlan,
)
from cluster.api_queries import ScanRequest
from cluster.cases.overview import JobProgress, JobsOverview, LeftOut, LeftOutFile, LeftOutQuery
from cluster.records import OVER, JobState, Priority
from tests.support.fakes.files import FOLDER, HOSTILE_NAME, MODELS

REPORT = Report(
    files=120,
    frames=300,
    frames_carried=90,
    files_per_s=6.0,
    bytes_per_s=1_500_000.0,
    detectors=(
        DetectorUsage(detector="nsfw", units=120, reused=30, seconds=12.5, gpu_seconds=3.0, cost=0.5),
        DetectorUsage(detector="ocr", units=120, reused=0, seconds=1234.5, gpu_seconds=0.0, cost=1.25),
    ),
    left_out=9,
    left_out_groups=(
        LeftOutGroup(reason="it is no image, video or audio", suffix=".svg", count=6, examples=(f"{FOLDER}/a.svg",)),
        LeftOutGroup(reason="it is a link", suffix="", count=3, examples=(f"{FOLDER}/linked",)),
    ),
    failures=(Reason(step="decode", reason="it ends early at N", units=3, example=f"s3://evidence/{HOSTILE_NAME}"),),
    cost=1.75,
    cost_per_1000_files=14.58,
)


PLAN = ScanPlan(
    files=120,
    skipped=8,
    left_out_groups=REPORT.left_out_groups,
    units=(
        PlannedFiles(reason="new", kind="image", files=100, bytes=200_000_000),
        PlannedFiles(reason="new model", kind="video", files=20, bytes=1_000_000_000),
    ),
    detectors=(
        PlannedDetector(detector="nsfw", files=120, seconds=12.5, gpu_seconds=0.0),
        PlannedDetector(detector="ocr", files=100, seconds=1234.5, gpu_seconds=600.0),
    ),
    estimate=Estimate(busiest="ocr", seconds=617.0, cost=1.75),
)
LOG = "".join(f"line {n} of the driver <b>\n" for n in range(1, 301))


@dataclass
class FakeJob:
    """A submitted job. `state` overrides the simulated state; `stubborn`: cancelling fails, as after its end."""

    job: str
    uris: list[str]
    priority: Priority = "normal"
    state: JobState | None = None
    message: str = ""
    stubborn: bool = False
    began: float = field(default_factory=time.time)

    def info(self) -> JobInfo:
        """The job's current state and progress."""
        seconds = time.time() - self.began
        done = min(120, int(seconds * 6))
        state: JobState = "waiting" if seconds < 0.5 else "running" if done < 120 else "finished"
        return JobInfo(
            job=self.job,
            state=self.state or state,
            units=120,
            done=done,
            failed=done // 30,
            skipped=8,
            listed=130,
            left_out=2,
            uris=self.uris,
            uri_count=len(self.uris),
            out=f"{FOLDER}/results",
            detectors=[],
            priority=self.priority,
            retry_of=None,
            seconds=min(20.0, seconds),
            message=self.message,
            attempts=[self.job],
            submitted_at="2026-11-22T10:00:00.000Z",
            started_at=None,
            ended_at=None,
        )


class FakeJobs:
    """The jobs and their routes. `on_begin` is called with the name of each submitted job."""

    def __init__(
        self,
        on_begin: Callable[[str], None] = lambda job: None,
        scan_into: Callable[[str, list[str]], None] = lambda case, uris: None,
    ) -> None:
        """Without jobs. `scan_into` adds what is scanned to a case."""
        self.known: list[FakeJob] = []
        self.delay_s = 0.0  # of every list
        self._scan_into = scan_into
        self._on_begin = on_begin

    def begin(self, uris: list[str], priority: Priority = "normal", **fields: Any) -> FakeJob:
        """Submit a job; `fields` are those of FakeJob."""
        job = FakeJob(f"job-{len(self.known) + 1:03}", uris, priority, **fields)
        self.known.append(job)
        self._on_begin(job.job)
        return job

    def list_jobs(self, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobInfo]:
        """The jobs, newest first, after `delay_s`."""
        time.sleep(self.delay_s)
        return [job.info() for job in self.known[::-1][:limit]]

    def overview(self, case: str | None = None) -> JobsOverview:
        """The jobs of whatever case, summarized: of those that are over, the figures of one."""
        jobs = [job.info() for job in self.known[::-1]]
        over = [job for job in jobs if job.state in OVER]
        progress = set(JobProgress.model_fields)
        return JobsOverview(
            jobs=len(jobs),
            running=tuple(JobProgress(**job.model_dump(include=progress)) for job in jobs if job.state not in OVER),
            left_out=REPORT.left_out_groups if over else (),
            detectors=REPORT.detectors if over else (),
            cost=REPORT.cost if over else None,
            without_report=0,
        )

    def left_out(self, query: Annotated[LeftOutQuery, Query()]) -> LeftOut:
        """What the newest job that is over left out, or that of the query: always the same files."""
        over = [job.job for job in self.known[::-1] if job.info().state in OVER and query.job in (None, job.job)]
        files = [
            LeftOutFile(uri=f"{FOLDER}/left_{n}{group.suffix}", suffix=group.suffix, reason=group.reason, job=job)
            for job in over[:1]
            for group in REPORT.left_out_groups
            if query.reason in (None, group.reason) and query.suffix in (None, group.suffix)
            for n in range(group.count)
        ]
        return LeftOut(total=len(files), items=tuple(files[: query.size]))

    def show(self, job: str) -> JobDetails:
        """One job, with a report once it has ended."""
        info = self._find(job).info()
        so_far = tuple(
            DetectorProgress(detector=name, units=info.done, files=info.done // 3, detections=info.done)
            for name in ("face", "ocr")
        )
        return JobDetails(**info.model_dump(), so_far=so_far, report=REPORT if info.state in OVER else None)

    def plan(self, request: ScanRequest) -> ScanPlan:
        """The plan of whatever scan; 422 as of `submit`."""
        self._check(request)
        return PLAN

    def logs(self, job: str, after: int = 0) -> PlainTextResponse:
        """The log of a job's driver."""
        self._find(job)
        return PlainTextResponse(LOG[after:])

    def submit(self, request: ScanRequest) -> JobName:
        """Submit a scan; 422 for an unknown detector or a URI that contains `nowhere`."""
        self._check(request)
        if request.case is not None:
            self._scan_into(request.case, request.uris)
        return JobName(job=self.begin(request.uris, request.priority).job)

    def _check(self, request: ScanRequest) -> None:
        for name in request.detectors or []:
            if name not in MODELS:
                raise HTTPException(422, f"no detector {name!r}; there are {', '.join(MODELS)}")
        if any("nowhere" in uri for uri in request.uris):
            raise HTTPException(422, "s3://nowhere: there is no such bucket. Check its name.")

    def cancel(self, job: str) -> JobInfo:
        """Cancel a job; 422 if it has ended."""
        known = self._find(job)
        if known.stubborn or known.info().state in OVER:
            raise HTTPException(422, f"{job} is finished: there is nothing to cancel.")
        known.state = "cancelled"
        return known.info()

    def resume(self, job: str) -> JobInfo:
        """Resume a failed or cancelled job; 422 in other states."""
        known = self._find(job)
        if known.info().state not in ("failed", "cancelled"):
            raise HTTPException(422, f"{job} is {known.info().state}: there is nothing to resume.")
        known.state = "waiting"
        return known.info()

    def retry_failed(self, job: str) -> JobName:
        """Submit the failed files of a job as a new job; 422 if the job has not ended."""
        known = self._find(job)
        if not known.info().failed:
            return JobName(job=None)
        if known.info().state not in OVER:
            raise HTTPException(422, f"{job} is not over yet.")
        return JobName(job=self.begin(known.uris, known.priority).job)

    def _find(self, job: str) -> FakeJob:
        known = next((known for known in self.known if known.job == job), None)
        if known is None:
            raise HTTPException(404, f"there is no job {job!r}")
        return known
