"""The types of the HTTP API's responses about jobs."""

from typing import Literal

from pydantic import computed_field

from cluster.api_types import Answer, Failure
from cluster.records import JobState, Kind, Priority


class DetectorUsage(Answer):
    """The computing time of a detector's answers for a job."""

    detector: str
    units: int = 0  # that it had to analyse
    reused: int = 0  # of these, answered from the cache
    seconds: float = 0.0
    gpu_seconds: float = 0.0  # of whole GPUs
    cost: float | None = None  # None: no price is set


class DetectorRate(Answer):
    """What a detector took in a job for 1,000 images, or for an hour of video or audio."""

    detector: str
    kind: Literal["image", "video", "audio"]
    seconds: float
    gpu_seconds: float  # of whole GPUs
    cost: float | None = None  # None: no price is set


class Reason(Answer):
    """Failures with the same reason: the number of units, and the URI of one of them."""

    step: str
    reason: str
    units: int
    example: str


OTHER_REASONS = "other reasons"  # the reason of a group of what is in no other group, as there are too many of them


class LeftOutGroup(Answer):
    """Files and folders that a job left out for the same reason, with the same suffix."""

    reason: str
    suffix: str  # with its dot; empty: none
    count: int
    examples: tuple[str, ...]  # URIs of the first ones


class Report(Answer):
    """The counts, speed, cost and failures of a job. Reports of earlier versions lack some fields."""

    units: int = 0
    skipped: int = 0
    listed: int = 0  # files found
    left_out: int = 0  # of these, neither analysed nor unchanged
    left_out_groups: tuple[LeftOutGroup, ...] = ()  # the largest first
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
    rates: tuple[DetectorRate, ...] = ()  # by detector and kind of file, as far as the job analysed such files
    failures: tuple[Reason, ...] = ()
    cost: float | None = None  # None: no price is set
    cost_per_1000_files: float | None = None


class TopLabel(Answer):
    """A label that a job has found, and the number of files with it."""

    label: str
    files: int


class DetectorSummary(Answer):
    """What a detector has found in a job: numbers of files and detections, the top labels, an example text."""

    detector: str
    files: int
    detections: int
    top_labels: list[TopLabel]
    example: str | None


class FailedFile(Failure):
    """A file that failed in a job."""

    uri: str


class Summary(Answer):
    """What a job has found, and which files failed in it, at most 1000."""

    files: int
    failed: list[FailedFile]
    detectors: list[DetectorSummary]


class JobInfo(Answer):
    """A scan and its progress. A unit is a file, or a segment of a long video."""

    job: str
    state: JobState
    units: int | None  # None: not listed yet
    done: int
    failed: int
    skipped: int  # analysed before and unchanged
    listed: int  # files found; 0: not counted
    left_out: int  # of these, neither analysed nor unchanged: the report says why
    uris: list[str]  # the first ones, if there are many
    uri_count: int
    out: str
    detectors: list[str]  # empty: all
    priority: Priority
    retry_of: str | None  # the job whose failed files it scans again
    seconds: float
    message: str
    attempts: list[str]  # Ray's submission id of each of its drivers
    submitted_at: str | None
    started_at: str | None
    ended_at: str | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Literal["complete", "complete_with_warnings"] | None:
        """How a finished job ended: with warnings if files failed or were left out, or its message says something.

        None before its end, and if it failed or was cancelled.
        """
        if self.state != "finished":
            return None
        return "complete_with_warnings" if self.failed or self.left_out or self.message else "complete"


class DetectorProgress(Answer):
    """What a detector has done in a job so far: units that it has answered, files in which it found something."""

    detector: str
    units: int
    files: int
    detections: int


class JobDetails(JobInfo):
    """A job with what its detectors have done so far, and its summary and report, once it is over."""

    so_far: tuple[DetectorProgress, ...] = ()
    summary: Summary | None = None
    report: Report | None = None


class JobName(Answer):
    """The name of a queued job; None if there was no failed file to retry."""

    job: str | None


class PlannedFiles(Answer):
    """Files that a scan would analyse for the same reason, of one kind."""

    reason: str  # new, changed, failed before and so on
    kind: Kind | None  # None: only its content will tell
    files: int
    bytes: int


class PlannedDetector(Answer):
    """The work of a detector in a scan. None: its time for files of these kinds was never measured here."""

    detector: str
    files: int
    seconds: float | None
    gpu_seconds: float | None
    cost: float | None = None  # also None: no price is set


class Estimate(Answer):
    """How long a scan would take. None: not all of its detectors were measured here, or no price is set."""

    busiest: str | None  # the deployment, of one or several detectors, that takes longest
    seconds: float | None  # its time, with all its replicas at work
    cost: float | None


class ScanPlan(Answer):
    """What a scan would analyse and why, what it would leave out, how long it would take and what it would cost."""

    files: int  # that would be analysed
    skipped: int  # unchanged, with an answer of every detector
    left_out_groups: tuple[LeftOutGroup, ...]
    units: tuple[PlannedFiles, ...]
    detectors: tuple[PlannedDetector, ...]
    rates: tuple[DetectorRate, ...] = ()  # what these detectors took before, by kind of file
    estimate: Estimate
    complete: bool = True  # False: the listing took too long and was ended, there are more files


class Verification(Answer):
    """The units of a job compared with the stored results and vectors."""

    units: int
    done: int  # of these, with a row in the results; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one
    vectors_missing: int  # in its rows, but not in the vector store
    listed: int = 0  # files found; 0: not counted
    unchanged: int = 0  # of these, analysed before
    left_out: int = 0  # of these, left out with a reason
    unaccounted: int = 0  # of these, none of the above and in no unit
