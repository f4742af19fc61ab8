"""What a job's driver calls in the deployments `jobs` and `catalog`. Every call has a deadline."""

import time
from typing import Any

import ray
from ray.exceptions import RayTaskError

from deployments.jobs.drivers import JobsClient
from deployments.serving.client import CLUSTER_FAULT

TELL_S = 60.0  # the jobs deployment writes a row of SQLite; it may ask Ray's Jobs API first
LOAD_S = 900.0  # the catalogue reads every result file that it has not loaded, millions of rows the first time
COUNT_S = 60.0  # the catalogue counts the rows of one job


class Calls:
    """The calls of one attempt at a job, whose results go to `out`. `jobs`, `catalog`: handles of these deployments."""

    first_wait_s = 1.0  # before the first retry; each further wait is four times as long

    def __init__(self, out: str, job: str, attempt: str, jobs: Any, catalog: Any) -> None:
        self.out, self.job, self.attempt = out, job, attempt
        self._jobs, self._catalog = jobs, catalog

    def tell(self, what: str, *facts: Any, **more: Any) -> Any:
        """Call a method of the queue of jobs about this job, up to four times while its replica is lost or hangs.

        SettingsError if the queue refuses.
        """
        for attempt in range(4):
            try:
                return getattr(self._jobs, what).remote(self.job, *facts, **more).result(timeout_s=TELL_S)
            except RayTaskError as error:
                raise error.cause from None
            except CLUSTER_FAULT:
                if attempt == 3:
                    raise
                time.sleep(self.first_wait_s * 4**attempt)

    def load(self, folder: str, s3_endpoint: str | None) -> int:
        """Load the new results of a folder into the catalogue; returns the number of rows loaded."""
        return int(self._catalog.load_all.remote(folder, s3_endpoint).result(timeout_s=LOAD_S))

    def failed(self) -> int:
        """The number of this job's files that have failed, as far as the catalogue has loaded them."""
        return int(self._catalog.job.remote(self.job).result(timeout_s=COUNT_S)["failed"])


def own_names() -> tuple[str, str | None]:
    """The id of this driver in Ray's Jobs API, and its submission id, None if it was not submitted."""
    own = ray.get_runtime_context().get_job_id()
    submission = JobsClient().get_job_info(own).submission_id
    return submission or own, submission
