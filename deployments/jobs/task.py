"""What a job is to do and what its listing found: the file job.json in the job's folder, from which every driver works.

The queue writes it before it starts a driver, whose command line then holds the job's name alone: a command line and an
environment variable may have 128 KiB, a list of URIs may have more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cluster.errors import SettingsError
from deployments.jobs import folder


@dataclass(frozen=True, slots=True)
class Task:
    """All that another driver needs to go on with a job. The queue fills in the first four, the driver the others."""

    uris: tuple[str, ...]
    detectors: tuple[str, ...]  # by name; empty: all that run
    retry_of: str | None = None  # it does again what failed in that job
    proof: str = ""  # of the operator, that it may read its URIs and write its results: cluster.permissions.prove
    started_at: float = 0.0  # seconds since 1970
    listed: bool = False  # until then the ledger is not whole
    units: int = 0
    skipped: int = 0
    left_out: str = ""  # which folders and files could not be listed or may not be read, and why; a sentence


_TASK = TypeAdapter(Task)


def read(out: str, job: str, s3_endpoint: str | None = None) -> Task | None:
    """The task of a job with results in the folder `out`, None if it has none. SettingsError if it is unreadable."""
    facts: Mapping[str, Any] | None = folder.read(out, job, "job", s3_endpoint)
    try:
        return None if facts is None else _TASK.validate_python(facts)
    except ValidationError as error:
        place = f"{folder.place(out, job)}/job.json"
        raise SettingsError(f"{place} is not what Raysift has written there: {error}. Scan again.") from None


def write(out: str, job: str, task: Task, s3_endpoint: str | None = None) -> None:
    """Keep the task: a reader sees it whole or as it was before. SettingsError if the folder cannot be written."""
    folder.write(out, job, "job", asdict(task), s3_endpoint)
