"""The query and the responses of the HTTP API's overview: what is in the files, and what the jobs over them did."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from cluster.api_job_types import DetectorUsage, LeftOutGroup
from cluster.api_queries import AssetFilter
from cluster.api_types import Answer, FailureGroup
from cluster.records import JobState, Kind

BINS = 20  # of a histogram of scores: each is 0.05 wide
TOP_LABELS = 10  # of a detector


class OverviewQuery(AssetFilter):
    """Which files to summarize, and from which score on a finding counts."""

    least_score: float = Field(
        default=0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="detectors and labels are counted from this score on; the histograms show all scores",
    )


class LabelCount(Answer):
    """A label of a detector, and the number of files in which it reaches the query's score."""

    label: str
    files: int


class DetectorFindings(Answer):
    """What a detector found in the files. A file counts once for each label, and once for the detector."""

    detector: str
    files: int  # in which a finding reaches the query's score
    labels: int  # that reach the query's score in some file
    top_labels: tuple[LabelCount, ...]  # those of most files
    scores: tuple[int, ...]  # BINS numbers: files by the best score of this detector, from 0 to 1


class Day(Answer):
    """The files whose newest analysis was on one day (UTC)."""

    day: date
    files: int
    failed: int  # of these, with an error


class Overview(Answer):
    """The files that pass a query's filters, summarized."""

    total: int
    failed: int  # of these, with an error
    kinds: dict[Kind, int]  # files whose kind is not known are in none
    detectors: tuple[DetectorFindings, ...]  # by name
    days: tuple[Day, ...]  # the first one first; days without files are left out
    failures: tuple[FailureGroup, ...]  # the most frequent first
    other_failures: int  # of further groups


class JobProgress(Answer):
    """A job that is not over. A unit is a file, or a segment of a long video."""

    job: str
    state: JobState
    units: int | None  # None: not listed yet
    done: int
    failed: int


class JobsOverview(Answer):
    """What the newest jobs did: those over files that the caller may see, and of the case if one is named.

    `left_out` is of the newest job over each set of folders, as another job over them leaves out the same files again.
    """

    jobs: int  # that are summarized here
    running: tuple[JobProgress, ...]  # those that are not over, the newest first
    left_out: tuple[LeftOutGroup, ...]  # the largest first
    detectors: tuple[DetectorUsage, ...]  # summed over the jobs that are over, by name
    cost: float | None  # of these jobs; None: no price is set
    without_report: int  # jobs that are over and have no readable report, so that nothing of them is counted


class LeftOutQuery(BaseModel):
    """Of which listings to show what they left out, and why. None: all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str | None = Field(default=None, description="the name of a case: only jobs over its folders")
    job: str | None = Field(default=None, description="only of this job")
    reason: str | None = Field(default=None, description="as the groups of a report have it")
    suffix: str | None = Field(default=None, description="with its dot, in lower case; empty: none")
    size: int = Field(default=200, ge=1, le=5000, description="so many of them are shown")


class LeftOutFile(Answer):
    """A file or folder that the listing of a job left out."""

    uri: str
    suffix: str
    reason: str
    job: str


class LeftOut(Answer):
    """What was left out, of the newest job over each set of folders. `items`: the first ones as listed."""

    total: int
    items: tuple[LeftOutFile, ...]
