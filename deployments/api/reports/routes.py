"""The API's route for reports: a file that is written part by part, and sent when it is whole and recorded."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from io import BufferedRandom
from tempfile import TemporaryFile
from typing import Annotated, Any, BinaryIO, TypeVar
from urllib.parse import urlencode

from fastapi import HTTPException, Query, Request, Response

from cluster.access.identity import Identity, Prefixes
from cluster.api_queries import AssetFilter, AssetQuery, ReportQuery
from cluster.cases.case import common
from cluster.cases.overview import Overview, OverviewQuery
from cluster.records import iso_time
from cluster.settings import Settings
from deployments.access.client_address import address
from deployments.access.custody import REPORTED, Concerned
from deployments.access.purposes import purpose
from deployments.access.roles import Reviewer
from deployments.api import media
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.overview_routes import MOST_JOBS, summarized
from deployments.api.cases.routes import CaseRoutes
from deployments.api.exports.routes import Download
from deployments.api.guards.places import Places
from deployments.api.guards.quotas import Quotas
from deployments.catalog.shapes import Json
from deployments.jobs.job import settings_of
from deployments.reports import originals
from deployments.reports.content import Entry, Row, Writer
from deployments.reports.entries import entry
from deployments.reports.formats import FORMATS
from deployments.reports.head import head
from deployments.reports.tail import tail

MOST = 2  # reports that one API process makes at a time
MOST_FILES = 5000  # of one report
READ_S = 180.0  # for reading files of a report: proxies wait 5 minutes for the first byte
THREADS = 8  # of all reports of one process
PIECE_BYTES = 1 << 20
T = TypeVar("T")
DOWNLOAD = media.content_of(format.media_type for format in FORMATS.values())


class ReportRoutes(CaseRoutes):
    """The route of reports; the API that inherits it has what it reads."""

    settings: Settings
    access: TimedHandle
    catalog: TimedHandle
    jobs: TimedHandle
    quotas: Quotas
    originals: media.Originals
    reporting = Places()  # for reports that are being made or sent

    @api.get("/v1/report", response_class=Response, responses=DOWNLOAD)
    async def report(self, query: Annotated[ReportQuery, Query()], request: Request, who: Reviewer) -> Download:
        """A report on the files that pass the filters, as a file to download: it is recorded with its SHA-256.

        422 if no file passes, or more than MOST_FILES. 429 if the caller has its share of exports and reports, 503 if
        MOST reports are being made. Pictures that are not blurred need a purpose, if the settings demand one.
        """
        why = purpose(request, self.settings.access, needed=query.pictures == "plain")
        with ExitStack() as place:
            place.enter_context(self.quotas.exporting(who))
            place.enter_context(self.reporting.take(MOST, f"{MOST} reports are being made: try again in a minute", 60))
            file = place.enter_context(TemporaryFile(prefix="raysift-report-"))
            files = await self._write(file, query, who)
            sha256, size = await _threaded(_hashed, file)
            filters = query.model_dump(mode="json", exclude_defaults=True, exclude={"format", "pictures"})
            facts = {"filters": urlencode(filters, doseq=True), "files": files, "pictures": query.pictures}
            where = address(request)
            await self.access.record.remote(who, REPORTED, query.format, where, **facts, sha256=sha256, **why)
            ended = place.pop_all().close  # once it is sent
        name = f"report-{query.case or 'all-files'}.{query.format}"
        return Download(_pieces(file), name, FORMATS[query.format].media_type, ended, size)

    async def _write(self, to: BinaryIO, query: ReportQuery, who: Identity) -> int:
        """Write the report; returns its number of files. HTTPException as of `report`."""
        case = None if query.case is None else await self.case_of(query.case, who)
        within = who.prefixes if case is None else common(case.folders, who.prefixes)
        files, chosen = await self._chosen(query, within)
        made_at = iso_time(time.time())
        overview = Overview(**await self.catalog.overview.remote(OverviewQuery(), within))
        newest, counts = await asyncio.gather(self.jobs.newest.remote(MOST_JOBS, within), self.catalog.jobs.remote())
        scanned = await summarized(newest, counts, self.settings.s3_endpoint)
        with FORMATS[query.format].writer(to) as writer:
            begin = head(query, case, who, made_at, files, overview, scanned)
            await _threaded(writer.begin, begin)
            written = await self._add_files(writer, chosen, within, who)
            assets, jobs = frozenset(written.numbers), frozenset(written.jobs)
            concerned = Concerned(assets, jobs, query.case, limited=who.prefixes is not None)
            custody = await self.access.custody.remote(concerned)
            methods = await self.catalog.methods.remote(chosen, within)
            measured = await self.access.measured.remote([(one["detector"], one["model"]) for one in methods])
            end = tail(written.numbers, written.unsound, methods, measured, custody)
            await _threaded(writer.end, end)
        return len(written.numbers)

    async def _chosen(self, query: ReportQuery, within: Prefixes) -> tuple[int, ReportQuery]:
        """How many files pass the filters, and the query of just these, whatever arrives meanwhile."""
        filters = AssetFilter.model_fields
        page = await self.catalog.assets.remote(
            AssetQuery.model_validate(query.model_dump(include=set(filters)) | {"size": 1}), within
        )
        if not page["total"]:
            raise HTTPException(422, "no file passes these filters: choose others, or another case")
        if page["total"] > MOST_FILES:
            raise HTTPException(
                422,
                f"{page['total']:,} files pass these filters, and a report has {MOST_FILES:,} at most: add filters, "
                "such as a decision or a label, or take an export, which has no limit",
            )
        return page["total"], query.model_copy(update={"upto": query.upto or page["latest"]})

    async def _add_files(self, writer: Writer, query: ReportQuery, within: Prefixes, who: Identity) -> "_Written":
        """Write the files of the query, part by part."""
        written, after, until = _Written(), 0, time.monotonic() + READ_S
        settings: dict[str, Settings] = {}
        visible: dict[str, bool] = {}  # job -> whether the caller may see it
        while part := await self.catalog.report_part.remote(after, query, within, query.pictures != "none"):
            lines, after = part
            for job in {job for line in lines for job in (line["job"], *line["jobs"])} - settings.keys():
                settings[job], visible[job] = await self._settings_of(job, who)
            for line in lines:
                line["jobs"] = [job for job in line["jobs"] if visible[job]]
            states = await asyncio.gather(
                *(
                    _threaded(originals.state, line, settings[line["job"]], self.originals.open_member, until)
                    for line in lines
                )
            )
            first = len(written.numbers) + 1
            made = await _threaded(_entries, first, lines, states, query)
            await _threaded(writer.add, made)
            written.numbers |= {line["id"]: number for number, line in enumerate(lines, first)}
            written.jobs |= {job for line in lines for job in line["jobs"]}
            written.unsound += [(f"{one.number}", one.name, one.bytes_say) for one in made if not one.sound]
        return written

    async def _settings_of(self, job: str, who: Identity) -> tuple[Settings, bool]:
        """The settings of a job: which files it, and so a report on them, may read, of these those of the caller; and
        whether the caller may see the job itself: all of its folders.
        """
        known = await self.jobs.one.remote(job)
        is_visible = who.prefixes is None or (known is not None and who.sees_all(known.uris))
        return settings_of(known, self.settings, who.prefixes), is_visible


@dataclass
class _Written:
    """What was written of a report: its files with their numbers, their jobs, and those that have changed."""

    numbers: dict[str, int] = field(default_factory=dict)
    jobs: set[str] = field(default_factory=set)
    unsound: list[Row] = field(default_factory=list)


def _entries(first: int, lines: list[Json], states: list[originals.State], query: ReportQuery) -> list[Entry]:
    numbered = enumerate(zip(lines, states, strict=True), first)
    return [entry(number, line, state, query.pictures) for number, (line, state) in numbered]


def _hashed(file: BufferedRandom) -> tuple[str, int]:
    """The SHA-256 of a file and its size; it can then be read from its begin."""
    file.seek(0)
    sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    file.seek(0)
    return sha256, size


async def _threaded(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a call in a thread of reports: files are read for minutes, and other requests have threads too."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), function, *arguments)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "report")


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece
