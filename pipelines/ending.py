"""Reports an error that ends a job early to the queue."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError, RayTaskError

from cluster.errors import DiskFull, SettingsError
from deployments.jobs.drivers import DIED_WITH_THE_CLUSTER, NOT_FINISHED
from pipelines.calls import Calls


@contextmanager
def report_end(calls: Calls) -> Iterator[None]:
    """Report an error that ends the job early to the queue, as the job's message."""
    try:
        yield
    except SettingsError as error:
        calls.tell("over", calls.attempt, NOT_FINISHED, str(error))
        raise
    except RayError as error:
        code = NOT_FINISHED if isinstance(error, RayTaskError) else DIED_WITH_THE_CLUSTER
        message = f"{type(error).__name__}; see `raysift jobs logs {calls.job}`"
        # an actor's exception comes as text
        if full := re.search(rf"{DiskFull.__name__}: (.+)", str(error)):
            message = f"{full[1]}, then `raysift jobs resume {calls.job}` goes on"
        elif f"[Errno {errno.ENOSPC}]" in str(error):
            message = f"no space is left in {calls.out}: free some, then `raysift jobs resume {calls.job}` goes on"
        calls.tell("over", calls.attempt, code, message)
        raise
    except Exception as error:
        fault = f"{type(error).__name__}: {error}; see `raysift jobs logs {calls.job}`"
        calls.tell("over", calls.attempt, NOT_FINISHED, fault)
        raise
