"""Scans as jobs of the Ray cluster: submitted, and told of by what Ray and the results say."""

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cluster.settings import Settings

FINISHED_WITH_FAILED_FILES = 3  # exit code of a scan


class JobsDown(Exception):
    """Ray's Jobs API did not do what it was asked: a sentence that says what."""


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        raise JobsDown(f"Ray's Jobs API says: {error}. Try again; if it stays so, see `raysift status`.") from error


class Jobs:
    """The jobs of this cluster, through Ray's Jobs API."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = JobSubmissionClient(settings.ray.dashboard_url)

    def submit(self, uris: list[str], out: str, detectors: list[str]) -> str:
        """Start a scan and give its name; it runs whether or not anyone follows it."""
        job = f"scan-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
        command = ["python", "-m", "pipelines", *uris, "--out", out]
        if detectors:
            command += ["--detectors", ",".join(detectors)]
        metadata = {"uris": "\n".join(uris), "out": out}
        with _asking():
            self.client.submit_job(entrypoint=shlex.join(command), submission_id=job, metadata=metadata)
        return job

    def all(self, facts: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Every scan, newest first. Facts: what each job has noted of itself in the catalogue, by its name."""
        with _asking():
            known = self.client.list_jobs()
        found = [
            describe(details, facts.get(details.submission_id or "", {}))
            for details in known
            if details.submission_id and "-m pipelines" in details.entrypoint
        ]
        return sorted(found, key=lambda job: job["submitted_at"], reverse=True)

    def one(self, job: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """One scan, or None if this cluster knows no job of that name."""
        with _asking():
            known = {details.submission_id: details for details in self.client.list_jobs()}
        return describe(known[job], facts) if job in known else None


def describe(details: JobDetails, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the API says of a job: Ray's word on its life, its own on what it owes and did."""
    state, message = _state(details, facts)
    started, ended = details.start_time or 0, details.end_time or time.time() * 1000
    return {
        "job": details.submission_id,
        "state": state,
        "uris": facts.get("uris") or (details.metadata or {}).get("uris", "").split("\n"),
        "out": facts.get("out") or (details.metadata or {}).get("out"),
        "units": facts.get("units"),
        "done": facts.get("done", 0),
        "failed": facts.get("failed", 0),
        "skipped": facts.get("skipped", 0),
        "seconds": round((ended - started) / 1000, 1) if started else 0.0,
        "message": message,
        "submitted_at": datetime.fromtimestamp(started / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
    }


def _state(details: JobDetails, facts: Mapping[str, Any]) -> tuple[str, str]:
    message = str(facts.get("message") or "")
    if details.status == JobStatus.PENDING:
        return "waiting", message
    if details.status == JobStatus.RUNNING:
        return ("listing" if facts.get("units") is None else "running"), message
    if details.status == JobStatus.SUCCEEDED or details.driver_exit_code == FINISHED_WITH_FAILED_FILES:
        return "finished", message
    if details.status == JobStatus.STOPPED:
        return "failed", message or "it was stopped"
    return "failed", message or str(details.message or "its driver died; see its log in the Ray dashboard")
