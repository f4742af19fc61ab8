"""Deadlines of the API's calls to the catalogue and the jobs."""

import asyncio

import pytest
from fastapi import HTTPException

from deployments.api import calls
from deployments.api.calls import TimedHandle
from tests.cluster.metrics.recorded import recorded


class Response:
    """The response of Serve's handle; awaited it returns the answer, or hangs."""

    def __init__(self, answer):
        self.answer = answer
        self.cancelled = False

    def __await__(self):
        return self._wait().__await__()

    async def _wait(self):
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def cancel(self):
        self.cancelled = True


class Catalog:
    """A deployment's handle. `facets` hangs, `load_all` takes its time, `forget` raises."""

    def __init__(self):
        self.facets, self.load_all, self.forget = (Method(answer) for answer in (None, 7, ValueError("a bug")))


class Method:
    def __init__(self, answer):
        self.response = Response(answer)
        self.arguments = None

    def remote(self, *arguments, **more):
        self.arguments = arguments, more
        return self.response


def call(handle, method, *arguments, **more):
    return asyncio.run(getattr(handle, method).remote(*arguments, **more))


def test_a_call_that_hangs_is_cancelled_with_a_message(monkeypatch):
    monkeypatch.setattr(calls, "ANSWER_S", 0.05)
    catalog = Catalog()
    with pytest.raises(HTTPException, match="the catalogue did not answer within 0 s: try again") as late:
        call(TimedHandle(catalog, "the catalogue", {}), "facets")
    assert late.value.status_code == 504 and catalog.facets.response.cancelled


def test_other_answers_and_errors_are_passed_on():
    catalog = Catalog()
    handle = TimedHandle(catalog, "the catalogue", {"load_all": 900.0})
    assert call(handle, "load_all", "s3://found", endpoint=None) == 7
    assert catalog.load_all.arguments == (("s3://found",), {"endpoint": None})
    with pytest.raises(ValueError, match="a bug"):
        call(handle, "forget")


def test_calls_are_measured_by_method_with_their_outcome(monkeypatch):
    monkeypatch.setattr(calls, "ANSWER_S", 0.05)
    handle = TimedHandle(Catalog(), "the catalogue", {})
    with recorded() as values:
        call(handle, "load_all")
        for method, error in (("facets", HTTPException), ("forget", ValueError)):
            with pytest.raises(error):
                call(handle, method)
    assert [(labels["to"], labels["method"], labels["outcome"]) for _, _, labels in values] == [
        ("catalogue", "load_all", "answered"),
        ("catalogue", "facets", "late"),
        ("catalogue", "forget", "failed"),
    ]
