"""A replica of a remote detector, and the client of it, while the other cluster answers, is away, or refuses."""

import asyncio
import threading

import pytest
from ray.exceptions import RayTaskError

from cluster.errors import SettingsError
from deployments.serving.remote import RemoteAway, RemoteRefuses, RemoteSlow
from deployments.serving.replica import Replica
from tests.deployments.serving.test_remote import PICTURES, config, counted, impatient
from tests.support.servers import far_api
from tests.support.servers.far_api import Far
from tests.support.serving.handles import FOUND, Handle, ask

__all__ = ["impatient"]


def replica(url, **remote):
    return Replica({"nsfw": config(url, **remote).model_dump()})


def test_a_replica_sends_several_batches_in_parallel_and_its_health_follows_the_oldest():
    far = Far(answer=counted)
    with far_api.running(far) as url:
        here = replica(url, max_in_flight=3)
        assert here.found == {"nsfw": 1}
        far.free = threading.Event()

        async def scenario():
            calls = [asyncio.create_task(here.detect("nsfw", PICTURES[n % 3 :], "a client")) for n in range(7)]
            while far.now < 3:
                await asyncio.sleep(0.005)
            assert len(here.began) == 3
            await here.check_health()
            far.free.set()
            return await asyncio.gather(*calls)

        responses = asyncio.run(scenario())
        assert asyncio.run(here.answers_example("nsfw")) == 1
    assert far.most == 3 and here.began == []
    assert [len(response.answers) for response in responses] == [3, 2, 1] * 2 + [3]
    assert responses[0].gpu_seconds == 0.25


def test_a_replica_starts_while_the_other_cluster_is_away_and_answers_when_it_is_back(impatient):
    port = far_api.free_port()
    here = replica(f"http://127.0.0.1:{port}")
    assert here.found == {"nsfw": 0}
    with pytest.raises(RemoteAway):
        asyncio.run(here.detect("nsfw", PICTURES, "a client"))
    asyncio.run(here.check_health())
    with far_api.running(Far(answer=counted), port):
        assert len(asyncio.run(here.detect("nsfw", PICTURES, "a client")).answers) == 3
        assert asyncio.run(here.answers_example("nsfw")) == 1


def test_a_replica_does_not_start_with_another_model_than_the_other_cluster_has():
    with far_api.running(Far(model="m2")) as url, pytest.raises(SettingsError, match="nsfw is m2 with floor"):
        replica(url)


def wrapped(error):
    return RayTaskError("detect", "a traceback", error).as_instanceof_cause()


AWAY = [wrapped(RemoteAway("503")), RayTaskError("detect", "", RemoteRefuses("409")), RemoteAway("503")]


@pytest.mark.parametrize("fault", AWAY)
def test_a_job_waits_on_a_fault_of_the_other_cluster_and_no_file_is_blamed(fault, caplog):
    handle = Handle(*[fault] * 9)
    reports = []
    assert ask(handle, "a", "b", report_away=lambda *report: reports.append(report)).answers == [FOUND, FOUND]
    assert handle.calls == [2] * 10 and reports == [("clip", True), ("clip", False)]
    assert f"clip did not answer ({getattr(fault, 'cause', fault)})" in caplog.text


def test_a_sample_that_never_ends_there_is_a_failure_if_the_detector_answers_its_example():
    slow = wrapped(RemoteSlow("300 s"))
    (answer,) = ask(Handle(slow, slow, slow), "a").answers
    assert answer.step == "clip" and "3 times" in answer.reason
    assert ask(Handle(*[slow] * 9, ready=False), "a").answers == [FOUND]
