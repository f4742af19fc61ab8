"""A job's driver: it lists the files, has them analysed, and checks at the end that every file has one result."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import ray
from ray import serve

from cluster.errors import SettingsError
from cluster.logs import setup
from cluster.permissions import job_settings
from cluster.records import ModelVersion
from cluster.results import attempts
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.roots import Roots
from cluster.traces import spans
from cluster.vectors import Vectors
from deployments import ray_metrics
from deployments.detector import DetectorAway
from deployments.jobs import folder as job_folder
from deployments.jobs import job as job_file
from deployments.jobs.drivers import FINISHED, FINISHED_WITH_FAILED_FILES
from deployments.jobs.job import Job
from deployments.serving.placement import APP
from deployments.serving.status import running
from pipelines import analyze
from pipelines.calls import Calls, own_names
from pipelines.ending import report_end
from pipelines.ledger import listing, retrying
from pipelines.ledger.left_out import LeftOutFiles
from pipelines.ledger.stored import stored
from pipelines.live_indexing import LiveIndexing
from pipelines.results import reporting
from pipelines.results.reconcile import reconcile, renew, settle

log = logging.getLogger(__name__)

LEFT_OUT: Literal["left_out"] = "left_out"  # in the job's folder: a page of JSON and a folder of Parquet files
LISTED = ("units", "skipped", "files_listed", "left_out_files", "left_out")  # fields of a job that its listing fills


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    job: str
    units: int
    done: int
    failed: int
    skipped: int
    exit_code: int  # 0: all files have results; 3: some files failed


def scan(task: Job, settings: Settings) -> Outcome:
    """Run a job in a driver of its own: from its beginning, or from where an earlier driver of it stopped. Raysift must
    run in this Ray cluster. A job without a name is named by the Ray submission id of this driver.

    SettingsError says which URI, name or setting is wrong, or why the job could not be finished.
    """
    ray.init(address="auto", log_to_driver=False)
    served = running(settings)
    attempt, submission = own_names()
    name = task.job or submission or f"scan-{time.strftime('%Y%m%d-%H%M%S')}"
    return attempt_at(replace(task, job=name), attempt, served, settings)


def attempt_at(task: Job, attempt: str, served: Mapping[str, ModelVersion], settings: Settings) -> Outcome:
    """Run a job as the attempt of that name, with the detectors that are `served`. SettingsError as `scan`."""
    ray_metrics.report()
    setup.about(task.job)
    name, out = task.job, buckets.normalize(task.out)
    task = replace(task, out=out, uris=tuple(map(buckets.normalize, task.uris)))
    if task.retry_of and not task.uris:
        first = resumed(out, task.retry_of, settings)
        task = replace(task, uris=first.uris, proof=first.proof)
    jobs, catalog = (serve.get_deployment_handle(part, APP) for part in ("jobs", "catalog"))
    calls = Calls(out, name, attempt, jobs, catalog)
    proof = calls.tell("begin", attempt, list(task.uris), out, list(task.detectors), task.proof)
    task = replace(task, proof=proof)
    with report_end(calls), spans.span("job", id=name, **{"raysift.id": name}):
        driver = Driver(calls, settings, Vectors.configured(settings))
        outcome = driver.run(task, served)
        calls.tell("over", attempt, outcome.exit_code, driver.message)
        return outcome


def resumed(out: str, job: str, settings: Settings) -> Job:
    """The job as its folder describes it. SettingsError if there is no such job."""
    task = job_file.read(buckets.normalize(out), job, settings.s3_endpoint)
    if task is None:
        raise SettingsError(f"there is no job {job} in {out}. Correct its name or --out.")
    return task


class Driver:
    """One attempt at a job. `cut` and `run`: those of `analyze`."""

    def __init__(
        self,
        calls: Calls,
        settings: Settings,
        vectors: Vectors,
        cut: Callable[..., int] = analyze.cut,
        run: Callable[..., None] = analyze.run,
    ) -> None:
        self.out, self.job, self.settings, self.endpoint = calls.out, calls.job, settings, settings.s3_endpoint
        self.folder = job_folder.place(self.out, self.job)
        self.ledger, self.uncut = f"{self.folder}/ledger", f"{self.folder}/uncut"
        self.message = ""
        self.calls, self.vectors = calls, vectors
        self.cut_videos, self.analyze = cut, run

    def run(self, task: Job, served: Mapping[str, ModelVersion]) -> Outcome:
        """List the files unless that is done, analyse those without a result, and check results against the list."""
        if (begun := job_file.read(self.out, self.job, self.endpoint)) is not None:
            task = replace(begun, proof=task.proof or begun.proof)
            renew(f"{self.folder}/checkpoint", self.out, self.job, self.endpoint)
        self.settings = job_settings(self.settings, task.uris, self.out, task.proof, task.within)
        chosen = _chosen(served, task.detectors)
        if task.units is None:
            began = task.started_at or time.time()
            with spans.span("list"):
                task = self._list(replace(task, detectors=tuple(chosen), started_at=began), chosen)
            self.calls.tell("note", message=self.message)
        self._add(task.left_out)
        self.calls.tell("note", **{key: getattr(task, key) for key in LISTED})
        log.info("%s has %d units to analyse; %d unchanged files are skipped", self.job, task.units, task.skipped)
        try:
            return self._work(task, dict(served))
        finally:
            with spans.span("report"):
                self._report(task)

    def _list(self, task: Job, chosen: Mapping[str, ModelVersion]) -> Job:
        # an earlier driver may have left them incomplete
        for folder in (self.ledger, self.uncut, f"{self.folder}/{LEFT_OUT}"):
            job_folder.clear(folder, self.endpoint)
        job_file.write(task, self.endpoint)
        roots = Roots(self.settings.scanning.roots)
        if task.retry_of:
            old = f"{job_folder.place(self.out, task.retry_of)}/ledger"
            retry = retrying.write_ledger(
                self.out, task.retry_of, old, self.ledger, self.uncut, chosen, self.endpoint, roots
            )
            units, videos, skipped = retry.units, retry.videos, 0
            if retry.gone:
                self.message = f"{len(retry.gone)} of the files are gone, for example {retry.gone[0]}"
        else:
            seen = stored(self.out, self.endpoint)
            length_s = self.settings.decoding.segment_s
            places = listing.Places(task.uris, self.out, (*self.settings.scanning.exclude, *task.exclude), roots)
            with LeftOutFiles(f"{self.folder}/{LEFT_OUT}", self.endpoint) as left_out:
                listed = listing.write_ledger(
                    places, self.ledger, self.uncut, left_out, seen, chosen, length_s, self.endpoint, self._listing
                )
            job_folder.write(self.out, self.job, LEFT_OUT, {"groups": left_out.described()}, self.endpoint)
            units, videos, skipped = listed.units, listed.videos, listed.skipped
            if not (units or videos or skipped):
                where = ", ".join(task.uris)
                raise SettingsError(
                    f"there is no image, video or audio under {where}. Name another folder or bucket. {left_out}"
                )
            task = replace(task, files_listed=listed.listed, left_out_files=left_out.count, left_out=str(left_out))
        if videos:
            self.calls.tell("note", message=f"checking {videos} videos for segments")
            units += self.cut_videos(self.uncut, self.ledger, videos, self.settings)
        task = replace(task, units=units, skipped=skipped)
        job_file.write(task, self.endpoint)
        return task

    def _listing(self, files: int) -> None:
        self.calls.tell("note", message=f"{files:,} files listed so far")

    def _add(self, message: str) -> None:
        """Add a sentence to the job's final message."""
        self.message = "; ".join(filter(None, [self.message, message]))

    def _work(self, task: Job, served: dict[str, ModelVersion]) -> Outcome:
        if not task.units:
            return Outcome(self.job, 0, 0, 0, task.skipped, FINISHED)
        max_failed = self.settings.scanning.max_failed_share * task.units
        indexing = LiveIndexing(self.calls, self.vectors, max_failed, self.endpoint)
        try:
            sequence = attempts.begin(self.out, self.job, self.endpoint)
            with indexing.running(), spans.span("analyze", attempt=sequence, units=task.units):
                self.analyze(self.ledger, task.units, self.out, self.job, sequence, served, self.settings)
        except DetectorAway as away:
            waited = _duration(self.settings.scanning.detector_timeout_s)
            raise SettingsError(
                f"detector {away} was away for {waited}: `raysift jobs resume {self.job}` goes on where it stopped"
            ) from None
        except KeyboardInterrupt:
            if not indexing.hopeless:
                raise
        finally:
            self._add(indexing.message)
        with spans.span("reconcile"):
            counts = reconcile(self.ledger, self.out, self.job, self.endpoint)
        if counts.double:
            settle(self.out, self.job, self.endpoint)
            counts = reconcile(self.ledger, self.out, self.job, self.endpoint)
        if counts.failed > self.settings.scanning.max_failed_share * counts.units:
            raise SettingsError(
                f"{counts.failed} of {counts.units} files failed, more than scanning.max_failed_share allows. See the "
                f"reasons with `raysift jobs show {self.job}`."
            )
        if counts.lost or counts.double:
            raise SettingsError(
                f"{counts.lost} of {counts.units} files have no result and {counts.double} have two: "
                f"`raysift jobs resume {self.job}` analyses what is missing."
            )
        code = FINISHED_WITH_FAILED_FILES if counts.failed else FINISHED
        return Outcome(self.job, counts.units, counts.done, counts.failed, task.skipped, code)

    def _report(self, task: Job) -> None:
        seconds = time.time() - (task.started_at or time.time())
        try:
            report = reporting.report(
                self.out, self.job, task.units or 0, task.skipped, seconds, self.settings.prices, self.endpoint
            )
            report.listed, report.left_out = task.files_listed, task.left_out_files
            left_out = job_folder.read(self.out, self.job, LEFT_OUT, self.endpoint)
            report.left_out_groups = left_out["groups"] if left_out else []
            reporting.write(self.out, self.job, report, self.endpoint)
        except Exception:  # a failed report must not hide the error that ended the job
            log.exception("the report could not be written")


def _chosen(served: Mapping[str, ModelVersion], wanted: tuple[str, ...]) -> dict[str, ModelVersion]:
    for name in wanted:
        if name not in served:
            raise SettingsError(f"no detector {name!r}; there are {', '.join(served)}. Correct --detectors.")
    return {name: model_version for name, model_version in served.items() if not wanted or name in wanted}


def _duration(seconds: float) -> str:
    for unit, length in (("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            many = round(seconds / length)
            return f"{'an' if unit == 'hour' else 'a'} {unit}" if many == 1 else f"{many} {unit}s"
    return "no time"
