"""Reports an error that ends a job early to the queue."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray.exceptions import RayError, RayTaskError

from cluster.errors import DiskFull, SettingsError
from deployments.jobs.drivers import DIED_WITH_THE_CLUSTER, NOT_FINISHED


class Driver(Protocol):
    """What is used of pipelines.driver.Driver."""

    out: str
    job: str
    attempt: str

    def tell(self, what: str, *facts: Any, **more: Any) -> Any:
        """Tell the deployment that keeps the jobs."""
        ...


@contextmanager
def report_end(driver: Driver) -> Iterator[None]:
    """Report an error that ends the job early to the queue, as the job's message."""
    try:
        yield
    except SettingsError as error:
        driver.tell("over", driver.attempt, NOT_FINISHED, str(error))
        raise
    except RayError as error:
        code = NOT_FINISHED if isinstance(error, RayTaskError) else DIED_WITH_THE_CLUSTER
        message = f"{type(error).__name__}; see `raysift jobs logs {driver.job}`"
        # an actor's exception comes as text
        if full := re.search(rf"{DiskFull.__name__}: (.+)", str(error)):
            message = f"{full[1]}, then `raysift jobs resume {driver.job}` goes on"
        elif f"[Errno {errno.ENOSPC}]" in str(error):
            message = f"no space is left in {driver.out}: free some, then `raysift jobs resume {driver.job}` goes on"
        driver.tell("over", driver.attempt, code, message)
        raise
    except Exception as error:
        fault = f"{type(error).__name__}: {error}; see `raysift jobs logs {driver.job}`"
        driver.tell("over", driver.attempt, NOT_FINISHED, fault)
        raise
