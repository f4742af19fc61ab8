"""The drivers of jobs, as Ray's Jobs API starts, stops and knows them."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES, DIED_WITH_THE_CLUSTER = 0, 1, 3, 4  # exit codes of a driver
FINAL = (FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES)  # with any other it died
START_S = 300.0  # a driver that Ray has not started by then went with the head that should have


class JobsDown(Exception):
    """Ray's Jobs API did not do what it was asked: a sentence that says what."""


class Client(Protocol):
    """What is used of ray.job_submission.JobSubmissionClient."""

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: dict[str, str]) -> str: ...
    def get_job_info(self, job_id: str) -> JobDetails: ...
    def get_job_logs(self, job_id: str) -> str: ...
    def stop_job(self, job_id: str) -> bool: ...


def alive() -> set[str]:
    """The ids of the cluster's nodes that live."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


class Drivers:
    """By the name of each attempt at a job. Every method raises JobsDown."""

    def __init__(
        self,
        url: str,
        client: Callable[[str], Client] = JobSubmissionClient,
        nodes: Callable[[], set[str]] = alive,
    ) -> None:
        self.url = url
        self._make_client = client
        self._nodes = nodes
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
        """What Ray knows of it, None if nothing. One that went with its node has failed."""
        try:
            details: JobDetails = self._ask(lambda client: client.get_job_info(attempt))
        except JobsDown as error:
            if "status code 404" in str(error):
                return None
            raise
        # a head that was started again, on Redis, says for ever that its drivers run
        return details.model_copy(update={"status": JobStatus.FAILED}) if self._is_lost(details) else details

    def _is_lost(self, details: JobDetails) -> bool:
        if details.status not in (JobStatus.PENDING, JobStatus.RUNNING):
            return False
        if details.driver_node_id is not None:
            return details.driver_node_id not in self._nodes()
        return details.start_time is not None and time.time() - details.start_time / 1000 > START_S

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
