"""The drivers of jobs, as Ray's Jobs API starts them, stops them and reports on them."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES, DIED_WITH_THE_CLUSTER = 0, 1, 3, 4  # exit codes of a driver
FINAL = (FINISHED, NOT_FINISHED, FINISHED_WITH_FAILED_FILES)  # with any other exit code it died
START_S = 300.0  # a driver that Ray has not started by then was lost with the head that should have started it
CONNECT_S = 5.0  # the dashboard runs on the same machine
ANSWER_S = 20.0  # on a busy machine the start of a driver takes some seconds
NO_LOG = "its log is gone, with Ray's head or with its node\n"
HEADING = "==== attempt"  # begins a line of a driver's log, before the name of the attempt at a job that it begins


class JobsDown(Exception):
    """Ray's Jobs API cannot be reached, or does not answer in time. The message says what to do."""


class JobsRefusal(JobsDown):
    """Ray's Jobs API answered with an HTTP error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type["JobsRefusal"], tuple[int, str]]:
        return JobsRefusal, (self.status, str(self))


class Client(Protocol):
    """The methods of ray.job_submission.JobSubmissionClient that are used; tests pass another class.

    `job_id` and `submission_id` are Ray's id of one driver. Every method may raise JobsRefusal, RuntimeError, OSError.
    """

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: dict[str, str]) -> str:
        """Start a shell command as a driver and return its id, the one that was given."""

    def get_job_info(self, job_id: str) -> JobDetails:
        """The status of a driver, its node and its times in milliseconds since 1970. JobsRefusal 404: unknown."""

    def get_job_logs(self, job_id: str) -> str:
        """All that a driver has written to stdout and stderr."""

    def stop_job(self, job_id: str) -> bool:
        """Send SIGTERM to a driver; whether it was running."""


class JobsClient(JobSubmissionClient):
    """Ray's client with a deadline for every request and the status of every refusal.

    Ray 2.60's own client waits for ever, and reports statuses only in the text of a RuntimeError.
    """

    def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
        return super()._do_request(method, endpoint, timeout=(CONNECT_S, ANSWER_S), **more)

    def _raise_error(self, r: Any) -> None:
        raise JobsRefusal(r.status_code, f"Ray's Jobs API answers {r.status_code}: {r.text[:500]}")


def alive() -> set[str]:
    """The ids of the cluster's nodes that are alive."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


class Drivers:
    """The drivers, each by the name of its attempt at a job. Every method may raise JobsDown.

    `driver_of`: attempt -> Ray submission id of its driver, where a driver that waited for jobs was given this one.

    Every call ends within some CONNECT_S + ANSWER_S. None may be made while a lock is held.
    """

    def __init__(
        self,
        url: str,
        client: Callable[[str], Client] = JobsClient,
        nodes: Callable[[], set[str]] = alive,
        driver_of: Callable[[str], str] = str,
    ) -> None:
        self.url = url
        self._driver_of = driver_of
        self._make_client = client
        self._nodes = nodes
        self._client: Client | None = None  # made at the first call, because it asks the dashboard for its version

    def start(self, attempt: str, command: str, metadata: dict[str, str]) -> None:
        """Start a driver, unless it was started before and only the answer was lost."""
        try:
            self._call(lambda client: client.submit_job(entrypoint=command, submission_id=attempt, metadata=metadata))
        except JobsDown:
            if self.details(attempt) is None:
                raise

    def stop(self, attempt: str) -> None:
        """Stop a driver, which takes a few seconds. A driver that Ray does not know is taken as stopped."""
        with contextlib.suppress(_Unknown):
            self._call(lambda client: client.stop_job(self._driver_of(attempt)))

    def details(self, attempt: str) -> JobDetails | None:
        """What Ray knows of a driver, None if nothing. One that was lost with its node counts as failed."""
        try:
            details: JobDetails = self._call(lambda client: client.get_job_info(self._driver_of(attempt)))
        except _Unknown:
            return None
        # a head that was restarted on Redis reports its former drivers as running for ever
        return details.model_copy(update={"status": JobStatus.FAILED}) if self._is_lost(details) else details

    def _is_lost(self, details: JobDetails) -> bool:
        if details.status not in (JobStatus.PENDING, JobStatus.RUNNING):
            return False
        if details.driver_node_id is not None:
            return details.driver_node_id not in self._nodes()
        return details.start_time is not None and time.time() - details.start_time / 1000 > START_S

    def is_running(self, attempt: str) -> bool:
        """Whether a driver has not ended yet."""
        details = self.details(attempt)
        return details is not None and details.status in (JobStatus.PENDING, JobStatus.RUNNING)

    def log(self, attempt: str) -> str:
        """What a driver has written during an attempt; NO_LOG if Ray does not have it any more."""
        driver = self._driver_of(attempt)
        try:
            log = str(self._call(lambda client: client.get_job_logs(driver)))
        except JobsRefusal:
            return NO_LOG
        return log if driver == attempt else _part(log, attempt)

    def _call(self, question: Callable[[Client], Any]) -> Any:
        advice = "Try again; if it stays so, see `raysift status`."
        try:
            if self._client is None:
                self._client = self._make_client(self.url)
            return question(self._client)
        except JobsRefusal as error:
            kind = _Unknown if error.status == 404 else JobsRefusal
            raise kind(error.status, f"{error}. {advice}") from error
        except (RuntimeError, OSError) as error:  # the errors of requests are OSErrors
            raise JobsDown(f"Ray's Jobs API at {self.url} does not answer: {error}. {advice}") from error


def _part(log: str, attempt: str) -> str:
    """The part of a driver's log that is about one attempt: from its heading to the next one."""
    _, found, rest = f"\n{log}".partition(f"\n{HEADING} {attempt}\n")
    return rest.partition(f"\n{HEADING} ")[0].rstrip("\n") + "\n" if found else ""


class _Unknown(JobsRefusal):
    """Ray knows no driver of that name."""
