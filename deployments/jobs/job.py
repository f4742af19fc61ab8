"""A job as one record: its request, the outcome of its listing, and its state.

The queue keeps it in SQLite and as queue.json beside the results. What a driver works from (TASK) is job.json in the
job's folder. The queue writes it before it starts a driver, whose command line then holds the job's name alone: a
command line and an environment variable may have 128 KiB, a list of URIs may have more.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from cluster.errors import SettingsError
from cluster.permissions import job_settings, limited
from cluster.records import JobState, Priority
from cluster.settings import Settings
from deployments.jobs import folder

# the fields in job.json: all that another driver needs to continue the job
TASK = (
    *("uris", "exclude", "detectors", "retry_of", "proof", "within", "submitted_at", "started_at"),
    *("units", "skipped", "files_listed", "left_out_files", "left_out"),
)
_FORMER_STATES = {"parked": "blocked"}  # names of the previous version


@dataclass(frozen=True, slots=True)
class Job:
    """A job: what it is to do and its state. Times are seconds since 1970."""

    job: str  # its name
    uris: tuple[str, ...]
    out: str
    submitted_at: float
    detectors: tuple[str, ...] = ()  # by name; empty: all that run
    priority: Priority = "normal"
    retry_of: str | None = None  # analyses again the files that failed in that job
    proof: str = ""  # of the operator, that it may read its URIs and write to `out`: cluster.permissions.prove
    exclude: tuple[str, ...] = ()  # patterns of names that are left out, besides those of the settings
    within: tuple[str, ...] | None = None  # it reads nothing outside these: who submitted it is limited to them
    owner: str = ""  # who has queued it, as Identity.owner; empty: a process of the cluster, or an earlier version
    state: JobState = "waiting"
    message: str = ""
    waits_for: tuple[str, ...] = ()  # detectors that do not answer
    units: int | None = None  # to be analysed; None: not listed yet, the ledger is incomplete
    skipped: int = 0
    files_listed: int = 0  # files found; 0 in a retry and in jobs of earlier versions, which did not count them
    left_out_files: int = 0  # of these, neither analysed nor unchanged: left_out.json of the job's folder says why
    left_out: str = ""  # the same in a sentence
    attempts: tuple[str, ...] = ()  # Ray submission id of each driver it has had
    resumes: int = 0  # consecutive restarts after early deaths of its driver
    attempt_at: float | None = None  # when the last driver was started
    started_at: float | None = None
    ended_at: float | None = None


JOB = TypeAdapter(Job)


def new_name() -> str:
    """A name for a new job: the local time, and random digits."""
    return f"scan-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"


def settings_of(job: Job | None, settings: Settings, within: Sequence[str] | None) -> Settings:
    """The settings with which files of a job may be read, of these those under `within`; None: all of its files.

    Of a job that is not known, the settings as they are.
    """
    if job is None:
        return limited(settings, within)
    return job_settings(settings, job.uris, job.out, job.proof, within)


def from_facts(facts: Mapping[str, Any]) -> Job:
    """A job from its fields as this version or the previous one stores them. ValidationError if they are invalid."""
    state = facts.get("state")
    return JOB.validate_python({**facts, "state": _FORMER_STATES.get(str(state), state)} if state else facts)


def read(out: str, job: str, s3_endpoint: str | None = None) -> Job | None:
    """The job as its folder in `out` describes it: the fields TASK. None if it has no job.json.

    SettingsError if that is unreadable.
    """
    facts = folder.read(out, job, "job", s3_endpoint)
    if facts is None:
        return None
    task = {"submitted_at": facts.get("started_at") or 0.0} | {key: facts[key] for key in TASK if key in facts}
    if not facts.get("listed", True):  # the previous version has a flag, and 0 units until then
        task["units"] = None
    try:
        return JOB.validate_python({**task, "job": job, "out": out})
    except ValidationError as error:
        place = f"{folder.place(out, job)}/job.json"
        raise SettingsError(f"{place} is not what Raysift has written there: {error}. Scan again.") from None


def write(job: Job, s3_endpoint: str | None = None) -> None:
    """Write the fields TASK to job.json: a reader sees it whole or as it was before.

    SettingsError if the folder cannot be written.
    """
    folder.write(job.out, job.job, "job", {key: getattr(job, key) for key in TASK}, s3_endpoint)
