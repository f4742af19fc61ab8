"""The drivers of jobs, as Ray's Jobs API starts, stops and knows them."""

from collections.abc import Callable
from typing import Any, Protocol

from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES, DIED_WITH_THE_CLUSTER = 0, 1, 3, 4  # exit codes of a driver
FINAL = (FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES)  # with any other it died


class JobsDown(Exception):
    """Ray's Jobs API did not do what it was asked: a sentence that says what."""


class Client(Protocol):
    """What is used of ray.job_submission.JobSubmissionClient."""

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: dict[str, str]) -> str: ...
    def get_job_info(self, job_id: str) -> JobDetails: ...
    def get_job_logs(self, job_id: str) -> str: ...
    def stop_job(self, job_id: str) -> bool: ...


class Drivers:
    """By the name of each attempt at a job. Every method raises JobsDown."""

    def __init__(self, url: str, client: Callable[[str], Client] = JobSubmissionClient) -> None:
        self.url = url
        self._make_client = client
        self._client: Client | None = None  # made when it is first needed: it asks the dashboard for its version

    def start(self, attempt: str, command: str, metadata: dict[str, str]) -> None:
        """Start a driver, unless it was started before and only the answer was lost."""
        try:
            self._ask(lambda client: client.submit_job(entrypoint=command, submission_id=attempt, metadata=metadata))
        except JobsDown:
            if self.details(attempt) is None:
                raise

    def stop(self, attempt: str) -> None:
        """Have it stop; that takes a few seconds."""
        self._ask(lambda client: client.stop_job(attempt))

    def details(self, attempt: str) -> JobDetails | None:
        """What Ray knows of it, None if nothing."""
        try:
            return self._ask(lambda client: client.get_job_info(attempt))
        except JobsDown as error:
            if "status code 404" in str(error):
                return None
            raise

    def runs(self, attempt: str) -> bool:
        """Whether it has not ended yet."""
        details = self.details(attempt)
        return details is not None and details.status in (JobStatus.PENDING, JobStatus.RUNNING)

    def log(self, attempt: str) -> str:
        """What it has written; a sentence if that is lost."""
        try:
            return str(self._ask(lambda client: client.get_job_logs(attempt)))
        except JobsDown:
            return "its log is gone, with Ray's head or with its node\n"

    def _ask(self, question: Callable[[Client], Any]) -> Any:
        try:
            if self._client is None:
                self._client = self._make_client(self.url)
            return question(self._client)
        except (RuntimeError, OSError) as error:  # those of requests are OSErrors
            raise JobsDown(f"Ray's Jobs API says: {error}. Try again; if it stays so, see `raysift status`.") from error
