"""Calls of the API to the deployments of the catalogue and the jobs, each with a deadline."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

from cluster.metrics.declared import CALL_SECONDS
from cluster.metrics.recording import timed
from cluster.traces import spans

ANSWER_S = 30.0  # a query of the catalogue over ten million rows takes a few seconds; jobs may ask Ray, which has 25 s
LOAD_S = 900.0  # the catalogue reads every result file of a folder that it has not loaded
LOGS_S = 100.0  # Ray is asked for the log of each attempt at a job

CATALOG_S = {"load_all": LOAD_S}
JOBS_S = {"logs": LOGS_S}
# a line on the head's disk; for a report the whole audit log is read and verified, some 100,000 lines in 3 s
ACCESS_S = {"record": 5.0, "custody": 120.0}


class TimedHandle:
    """A deployment's handle whose calls have deadlines. It is used as Serve's own: `await handle.method.remote(...)`.

    `name`: the deployment in messages. `within_s`: method -> its deadline in seconds, where that is not ANSWER_S.
    A call that is late is cancelled and becomes HTTPException 504; errors of the deployment are passed on unchanged.
    """

    def __init__(self, handle: Any, name: str, within_s: Mapping[str, float]) -> None:
        self._handle = handle
        self._name = name
        self._within_s = within_s

    def __getattr__(self, method: str) -> "_Method":
        return _Method(getattr(self._handle, method), method, self._name, self._within_s.get(method, ANSWER_S))


class _Method:
    def __init__(self, method: Any, method_name: str, name: str, within_s: float) -> None:
        self._method, self._method_name, self._name, self._within_s = method, method_name, name, within_s

    async def remote(self, *arguments: Any, **more: Any) -> Any:
        """The result of the method. HTTPException 504 if it takes longer than the deadline."""
        response = self._method.remote(*arguments, **more)
        to = self._name.removeprefix("the ")
        try:
            with (
                spans.span("call", to=to, method=self._method_name),
                timed(CALL_SECONDS, to=to, method=self._method_name, outcome="failed") as measured,
            ):
                try:
                    result = await asyncio.wait_for(response, self._within_s)
                except TimeoutError:
                    measured["outcome"] = "late"
                    raise
                measured["outcome"] = "answered"
                return result
        except TimeoutError:
            response.cancel()
            raise HTTPException(
                504,
                f"{self._name} did not answer within {self._within_s:.0f} s: try again, or see `raysift status`",
            ) from None
