"""The shapes of what the HTTP API answers about jobs, and the states and priorities that a job has."""

from typing import Literal, get_args

from cluster.api_types import Answer, Failure

JobState = Literal["waiting", "listing", "running", "blocked", "finished", "failed", "cancelled"]
ACTIVE: tuple[JobState, ...] = ("listing", "running", "blocked")
OVER: tuple[JobState, ...] = ("finished", "failed", "cancelled")
Priority = Literal["urgent", "normal", "bulk"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)  # whose turn it is first


class DetectorUsage(Answer):
    """What a detector's answers for a job took."""

    detector: str
    units: int = 0  # that it was to answer for
    reused: int = 0  # of these, contents that it had answered for before
    seconds: float = 0.0
    gpu_seconds: float = 0.0  # of whole cards
    cost: float | None = None  # None: no price is set


class Reason(Answer):
    """Failures that are alike: how many units have failed so, and the URI of one of them."""

    step: str
    reason: str
    units: int
    example: str


class Report(Answer):
    """What a job did, what it took and what failed in it. Reports of earlier versions lack some fields."""

    units: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    files: float = 0.0  # a segment counts as its share of a file
    bytes: float = 0.0
    frames: int = 0
    frames_carried: int = 0
    seconds: float = 0.0
    files_per_s: float = 0.0
    bytes_per_s: float = 0.0
    detectors: tuple[DetectorUsage, ...] = ()
    failures: tuple[Reason, ...] = ()
    cost: float | None = None  # None: no price is set
    cost_per_1000_files: float | None = None


class TopLabel(Answer):
    """A label that a job has found, and in how many files."""

    label: str
    files: int


class DetectorSummary(Answer):
    """What a detector has found in a job: in how many files, how often, its commonest labels, a text as an example."""

    detector: str
    files: int
    detections: int
    top_labels: list[TopLabel]
    example: str | None


class FailedFile(Failure):
    """A file that failed in a job."""

    uri: str


class Summary(Answer):
    """What a job has found and which files failed in it: the first 1000 of them."""

    files: int
    failed: list[FailedFile]
    detectors: list[DetectorSummary]


class JobInfo(Answer):
    """A scan and how far it is. A unit is a file, or a segment of a long video."""

    job: str
    state: JobState
    units: int | None  # None: not listed yet
    done: int
    failed: int
    skipped: int  # known already
    uris: list[str]  # the first of them, where there are many
    uri_count: int
    out: str
    detectors: list[str]  # empty: all
    priority: Priority
    retry_of: str | None  # the job whose failed files it does again
    seconds: float
    message: str
    attempts: list[str]  # what Ray calls each driver it has had
    submitted_at: str | None
    started_at: str | None
    ended_at: str | None


class JobDetails(JobInfo):
    """A job with what it found and what it took, once it is over."""

    summary: Summary | None = None
    report: Report | None = None


class JobName(Answer):
    """The name of a job that was queued; None if a retry found nothing that failed."""

    job: str | None


class Verification(Answer):
    """What a job owed against what is there."""

    units: int
    done: int  # of these, with a row in the results; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one
    vectors_missing: int  # that its rows hold and search cannot find
