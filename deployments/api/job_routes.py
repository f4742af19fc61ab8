"""The API's routes for jobs: submit, list, follow, cancel, resume, retry, verify."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Body, HTTPException, Query, Request, Response
from fastapi.responses import PlainTextResponse

from cluster.access.identity import Identity
from cluster.api_job_types import JobDetails, JobInfo, JobName, Report, Verification
from cluster.permissions import check_job, job_settings, prove, proved
from cluster.records import OVER, Priority, iso_time
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.listing import list_media
from cluster.storage.roots import Roots
from deployments.access.client_address import address
from deployments.access.roles import Operator
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes
from deployments.api.guards.idempotency import IdempotencyKey, caller_of, claimed
from deployments.api.guards.quotas import Quotas
from deployments.jobs import folder
from deployments.jobs.callers import Caller
from deployments.jobs.job import Job, new_name, settings_of

# (folder of results, job, settings) -> a dataclass of counts. Passed in, since deployments may not import pipelines.
Verify = Callable[[str, str, Settings], Any]
LISTINGS = 16  # URIs of a new job that are checked in parallel: a bucket takes some 50 ms to answer
SHOWN_URIS = 20  # of a job, in each response about it, so that a page of jobs does not grow with what they scan

Most = Annotated[int, Query(ge=1, le=1000)]
MAX_CHARACTERS = 1 << 40  # of a log, more than any has


class JobRoutes(CaseRoutes):
    """The routes for jobs; the API that inherits them has the detectors, the jobs and the catalogue."""

    settings: Settings
    names: list[str]  # of the detectors
    jobs: TimedHandle
    catalog: TimedHandle
    access: TimedHandle
    quotas: Quotas
    verify: Verify

    @api.post("/v1/jobs")
    async def submit(
        self,
        uris: Annotated[list[str], Body(min_length=1)],
        out: Annotated[str | None, Body()] = None,
        detectors: Annotated[list[str] | None, Body()] = None,
        priority: Annotated[Priority, Body()] = "normal",
        proof: Annotated[str, Body()] = "",
        exclude: Annotated[list[str] | None, Body(max_length=1000)] = None,
        case: Annotated[str | None, Body()] = None,
        *,
        idempotency_key: IdempotencyKey = None,
        request: Request,
        who: Operator,
    ) -> JobName:
        """Queue a scan of folders or buckets; results go to `out`, or where the settings say.

        Both must lie under `scanning.roots` and `scanning.outs`, unless `proof` shows that the operator asks. Names
        that match a pattern of `exclude`, such as `*.tmp`, are left out. The URIs are added to the folders of `case`.
        """
        caller = await self._caller(request, who, idempotency_key)
        async with claimed(self.jobs, caller) as claim:
            if claim.state == "answered":
                return JobName(job=claim.job)
            what, where, kept = await self._checked(uris, out, detectors or [], proof, who)
            if case is not None:
                await self.scan_into(case, what, request, who)
            limits = {"proof": kept, "exclude": exclude or [], "within": who.prefixes}
            name = new_name()
            # before the job exists: a repetition with the key of a request is answered without a record
            shown = {"uris": what[:SHOWN_URIS], "uri_count": len(what)}
            await self.access.record.remote(who, "job submitted", name, address(request), **shown)
            submit = self.jobs.submit.remote
            job = await submit(what, where, detectors or [], priority, **limits, caller=caller, name=name)
            return JobName(job=job)

    @api.get("/v1/jobs")
    async def list_jobs(self, limit: Most = 100, case: str | None = None, *, who: Operator) -> list[JobInfo]:
        """The jobs that were submitted last, newest first; with `case` those over its folders."""
        within = await self.within(case, who)
        newest, counts = await asyncio.gather(self.jobs.newest.remote(limit, within), self.catalog.jobs.remote())
        return [JobInfo(**described(job, counts.get(job.job, {}))) for job in newest]

    @api.get("/v1/jobs/{job}")
    async def job(self, job: str, wait_s: Annotated[float, Query(ge=0, le=10)] = 0, *, who: Operator) -> JobDetails:
        """One job, its progress and that of its detectors; once it is over, also its findings and its report.

        With `wait_s` the answer comes when the job is over, or after that time.
        """
        known = await self._job(job, who, wait_s)
        counts, so_far = await asyncio.gather(self.catalog.job.remote(job), self.catalog.job_so_far.remote(job))
        over = known.state in OVER
        summary = await self.catalog.summary.remote(job) if over else None
        report = await asyncio.to_thread(self._report, known) if over else None
        return JobDetails(**described(known, counts), so_far=so_far, summary=summary, report=report)

    @api.post("/v1/jobs/{job}/cancel")
    async def cancel(self, job: str, request: Request, who: Operator) -> JobInfo:
        """Remove a job from the queue or stop it. Its stored results stay."""
        await self._job(job, who)
        await self.access.record.remote(who, "job cancelled", job, address(request))
        return JobInfo(**described(await self.jobs.cancel.remote(job), await self.catalog.job.remote(job)))

    @api.post("/v1/jobs/{job}/resume")
    async def resume(
        self, job: str, request: Request, who: Operator, idempotency_key: IdempotencyKey = None
    ) -> JobInfo:
        """Queue a failed or cancelled job again; finished files are not analysed again."""
        known = await self._job(job, who)
        caller = await self._caller(request, who, idempotency_key)
        async with claimed(self.jobs, caller) as claim:
            if claim.state == "new":
                await self._check_allowed(known)
                await self.access.record.remote(who, "job resumed", job, address(request))
                known = await self.jobs.resume.remote(job, caller)
            return JobInfo(**described(known, await self.catalog.job.remote(job)))

    @api.post("/v1/jobs/{job}/retry-failed")
    async def retry_failed(
        self, job: str, request: Request, who: Operator, idempotency_key: IdempotencyKey = None
    ) -> JobName:
        """Queue a new job over exactly the files that failed in this one; null when none did."""
        known = await self._job(job, who)
        caller = await self._caller(request, who, idempotency_key)
        async with claimed(self.jobs, caller) as claim:
            if claim.state == "answered":
                return JobName(job=claim.job)
            await self._check_allowed(known)
            await self.access.record.remote(who, "failed files submitted again", job, address(request))
            await self.catalog.load_all.remote(known.out, self.settings.s3_endpoint)  # a new catalogue may lack them
            if (await self.catalog.job.remote(job))["failed"]:
                return JobName(job=await self.jobs.retry.remote(job, caller))
            if caller.key:
                await self.jobs.remember.remote(caller, None)
            return JobName(job=None)

    @api.get("/v1/jobs/{job}/verify")
    async def verified(self, job: str, who: Operator) -> Verification:
        """Verify a job: its results against its ledger, and the vector store against its results."""
        known = await self._job(job, who)
        with self.quotas.exporting(who):
            return Verification(**asdict(await asyncio.to_thread(self.verify, known.out, job, self.settings)))

    @api.get("/v1/jobs/{job}/logs", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def logs(
        self, job: str, after: Annotated[int, Query(ge=0, le=MAX_CHARACTERS)] = 0, *, who: Operator
    ) -> PlainTextResponse:
        """The logs of a job's drivers, from the character `after` on."""
        await self._job(job, who)
        return PlainTextResponse((await self.jobs.logs.remote(job))[after:])

    async def _caller(self, request: Request, who: Identity, key: str | None) -> Caller:
        return await caller_of(request, who, key, self.quotas.most_jobs(who))

    async def _job(self, job: str, who: Identity, wait_s: float = 0) -> Job:
        """The job. HTTPException 404 if there is none, or if one of its URIs lies outside what the caller may see."""
        if wait_s and who.prefixes is not None:
            await self._job(job, who)  # nobody waits for a job that he may not see
        known: Job | None = await self.jobs.followed.remote(job, wait_s)
        if known is None or not who.sees_all(known.uris):
            raise HTTPException(404, f"there is no job {job!r}; `raysift jobs list` names them")
        return known

    async def _checked(
        self, uris: list[str], out: str | None, detectors: list[str], proof: str, who: Identity
    ) -> tuple[list[str], str, str]:
        """The URIs, the folder of results and the proof of a new job, which is refused here if it may not be.

        HTTPException 422 or 403, and SettingsError for a place that cannot be read or written.
        """
        for name in detectors:
            if name not in self.names:
                raise HTTPException(422, f"no detector {name!r}; there are {', '.join(sorted(self.names))}")
        where = buckets.normalize(out or self.settings.results)
        what = [buckets.normalize(uri) for uri in uris]
        if not who.sees_all(what):
            raise HTTPException(403, f"you may scan only what lies under {', '.join(who.prefixes or ())}")
        if out and not who.sees(where):
            raise HTTPException(403, "you may not choose this folder of results: leave it out")
        asked_out = out and buckets.normalize(out)
        kept = prove(self.settings, what, where) if proved(self.settings, what, asked_out, proof) else ""
        # refused now, instead of by a job that fails
        await asyncio.to_thread(self._check_listable, what, where, kept, who.prefixes)
        return what, where, kept

    def _check_listable(self, uris: list[str], out: str, proof: str, within: tuple[str, ...] | None) -> None:
        """SettingsError names the first place that may not be read or written, or cannot be listed."""
        settings = job_settings(self.settings, uris, out, proof, within)
        different = list(dict.fromkeys(uris))  # 100,000 times the same one took half a minute
        check_job(settings, different, out)
        roots = Roots(settings.scanning.roots)

        def list_first(uri: str) -> None:
            next(list_media(uri, settings.s3_endpoint, roots), None)

        with ThreadPoolExecutor(LISTINGS) as pool:
            for _ in pool.map(list_first, different):
                pass

    async def _check_allowed(self, job: Job) -> None:
        """OutsideRoots if the settings, which may have changed, do not allow any more what the job reads and writes."""
        settings = settings_of(job, self.settings, job.within)
        await asyncio.to_thread(check_job, settings, job.uris, job.out)

    def _report(self, job: Job) -> Report | None:
        facts = folder.read(job.out, job.job, "report", self.settings.s3_endpoint)
        return None if facts is None else Report(**facts)


def described(job: Job, counts: dict[str, int]) -> dict[str, Any]:
    """The API's description of a job: its record, and the counts of its results from the catalogue."""
    times = {"submitted_at": job.submitted_at, "started_at": job.started_at, "ended_at": job.ended_at}
    waits = f"waits for {', '.join(job.waits_for)}" if job.waits_for else ""
    return {
        "job": job.job,
        "state": job.state,
        "units": job.units,
        "done": counts.get("done", 0),
        "failed": counts.get("failed", 0),
        "skipped": job.skipped,
        "listed": job.files_listed,
        "left_out": job.left_out_files,
        "uris": list(job.uris[:SHOWN_URIS]),
        "uri_count": len(job.uris),
        "out": job.out,
        "detectors": list(job.detectors),
        "priority": job.priority,
        "retry_of": job.retry_of,
        "seconds": round((job.ended_at or time.time()) - job.started_at, 1) if job.started_at else 0.0,
        "message": "; ".join(filter(None, [waits, job.message])),
        "attempts": list(job.attempts),
        **{name: None if seconds is None else iso_time(seconds) for name, seconds in times.items()},
    }
