"""Records of the audit log while the head is away."""

import asyncio
from types import SimpleNamespace
from typing import ClassVar

import pytest
from fastapi import HTTPException, Response

from cluster.access.identity import Identity
from deployments.access import pending
from deployments.access.pending import PendingRecords
from deployments.api.sample_routes import SampleRoutes
from deployments.serving import wire

ANN = Identity("ann", "reviewer")


class Head:
    """A stub of the deployment Access, which is `away` or keeps the records."""

    def __init__(self):
        self.away, self.records = True, []
        self.record = SimpleNamespace(remote=self._record)

    async def _record(self, who, what, of, where, **more):
        if self.away:
            raise HTTPException(504, "late")
        self.records.append((of, "happened_at" in more))


def test_records_wait_for_the_head_and_keep_their_order_and_time():
    head = Head()
    records = PendingRecords(head)

    async def story():
        for of in "ab":
            await records.record(ANN, "compared", of, "10.0.0.7")
        head.away = False
        await records.record(ANN, "compared", "c", "10.0.0.7")
        assert head.records == [], "it was away a moment ago"
        records._away_until = 0.0
        await asyncio.gather(*(records.record(ANN, "compared", of, "10.0.0.7") for of in "de"))

    asyncio.run(story())
    assert [of for of, _ in head.records] == list("abcde")
    assert head.records[0] == ("a", True) and head.records[-1] == ("e", False)


def test_too_many_that_wait_refuse_further_requests(monkeypatch):
    monkeypatch.setattr(pending, "MOST", 1)
    records = PendingRecords(Head())
    asyncio.run(records.record(ANN, "compared", "a", ""))
    with pytest.raises(HTTPException) as error:
        asyncio.run(records.record(ANN, "compared", "b", ""))
    assert error.value.status_code == 503


@pytest.mark.parametrize(("name", "expected"), [("face", ["faces of samples compared"]), ("nsfw", [])])
def test_samples_of_another_cluster_whose_faces_were_compared_are_recorded(name, expected):
    class Routes(SampleRoutes):
        async def _check(self, *_):
            pass

        async def _answer(self, *_):
            return Response(b"found")

    class Recorder:
        records: ClassVar[list[str]] = []

        async def record(self, who, what, of, where, **more):
            self.records.append(what)

    async def body():
        return b"samples"

    routes, Recorder.records = Routes(), []
    routes.pending = Recorder()
    request = SimpleNamespace(body=body, client=None, headers={})
    answer = asyncio.run(routes.detect_samples(name, "m", 0.1, request, Identity("far", "reviewer"), wire.VERSION))
    assert answer.body == b"found" and Recorder.records == expected
