"""A replica by itself, with stand-ins for its models: memory, idleness, health."""

import asyncio
import gc
import time
import weakref
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from cluster import heap
from cluster.records import Sample
from deployments import events
from deployments.detectors.logo import Logo
from deployments.galleries.store import Gallery
from deployments.models import runtime
from deployments.serving.replica import Replica
from tests.cluster.metrics.recorded import recorded
from tests.support.serving.handles import FOUND


class Model:
    """A detector that answers, and leaks 64 MB for every sample of the text `leak`."""

    made: ClassVar[list[Any]] = []

    def __init__(self, name, config):
        self.kept = []
        self.itself = self  # as networks of real libraries do
        self.network = runtime.shared("test-serving", Network)
        Model.made.append(weakref.ref(self))

    @classmethod
    def example(cls):
        return Sample(text="example")

    def detect(self, samples):
        for sample in samples:
            if sample.text == "leak":
                self.kept.append(np.ones(8_000_000))  # 64 MB
        return [FOUND for _ in samples]


class Network:
    pass


@pytest.fixture
def models():
    runtime.forget()
    Model.made = []
    yield Model.made
    runtime.forget()


def replica(**config):
    return Replica({"nsfw": config}, make=Model)


def test_a_replica_whose_memory_keeps_growing_fails_its_health_check(models):
    one = replica(max_growth_gb=0.1)

    async def scenario():
        await one.check_health()
        await one.detect("nsfw", [Sample(text="leak")], "a client")
        await one.check_health()  # within its bounds
        await one.detect("nsfw", [Sample(text="leak"), Sample(text="leak")], "a client")
        for _ in range(3):  # as often as Serve checks before it replaces a replica
            with pytest.raises(MemoryError, match=r"main memory has grown by 0\.1\d GB; max_growth_gb allows less"):
                await one.check_health()

    asyncio.run(scenario())


def test_growth_of_gpu_memory_fails_the_health_check_too(models):
    one = replica()
    one.loaded_gb = {**one.loaded_gb, "card": -5.0}
    with pytest.raises(MemoryError, match=r"card memory has grown by 5\.00 GB"):
        asyncio.run(one.check_health())


def test_an_idle_replica_drops_its_models_and_loads_them_for_the_next_request(models):
    one = replica(idle_s=0.01)
    network = weakref.ref(runtime.shared("test-serving", Network))

    async def scenario():
        one.used -= 1
        await one.check_health()
        one.thread.submit(int).result()  # after what was submitted before
        assert [model() for model in models] == [None] and network() is None
        assert await one.answers_example("nsfw") == 1, "what it found when it was loaded"
        assert len(models) == 1, "a readiness probe does not load it"
        assert (await one.detect("nsfw", [Sample(text="a"), Sample(text="b")], "a client")).answers == [FOUND, FOUND]
        assert len(models) == 2
        return await one.counts()

    before = events.counts()
    after = asyncio.run(scenario())
    for event in ("models let go", "models loaded again"):
        assert after[event] == before.get(event, 0) + 1


def test_readiness_probes_do_not_keep_a_replica_from_being_idle(models):
    one = replica(idle_s=30)
    one.used -= 60
    assert asyncio.run(one.answers_example("nsfw")) == 1
    assert one._is_idle()


def test_a_replica_that_is_used_or_has_no_idle_s_keeps_its_models(models):
    for config in ({"idle_s": 60}, {}):
        one = replica(**config)
        asyncio.run(one.check_health())
        one.thread.submit(int).result()
        assert one.detectors


def test_a_request_keeps_models_that_were_about_to_be_dropped(models):
    one = replica(idle_s=30)
    one.used -= 60

    async def scenario():
        asked = asyncio.ensure_future(one.detect("nsfw", [Sample(text="a")], "a client"))
        await asyncio.sleep(0)  # its request is with the thread now
        await one.check_health()
        await asked
        one.thread.submit(int).result()

    asyncio.run(scenario())
    assert one.detectors and len(models) == 1


def test_a_replica_gives_freed_memory_back_once_after_work_and_not_during_a_call(models, monkeypatch):
    given = []
    monkeypatch.setattr(heap, "give_back", lambda: given.append(None))
    one = replica()

    async def scenario():
        await one.check_health()
        await one.detect("nsfw", [Sample(text="a")], "a client")
        await one.check_health()
        assert given == [], "it has worked a moment ago"
        one.used -= heap.IDLE_S
        one.began.append(time.monotonic())
        await one.check_health()
        one.began.clear()
        await one.check_health()
        await one.check_health()
        await one.detect("nsfw", [Sample(text="a")], "a client")  # in the same thread, after it
        assert len(given) == 1

    asyncio.run(scenario())


def test_a_job_that_begins_after_a_logo_was_added_finds_it(tmp_path):
    # its rows name the gallery's new version, so a later scan would not look again
    folder = str(tmp_path / "logos")
    one = Replica(
        {"logo": {"gallery": folder}}, make=lambda _, config: Logo(config, infer=lambda samples: [[] for _ in samples])
    )

    def found(client):
        (found,) = asyncio.run(one.detect("logo", [Sample(text="Pay with PayPal")], client)).answers
        return [detection.label for detection in found]

    assert found("a job") == []
    Image.new("RGB", (40, 20)).save(tmp_path / "mark.png")
    Gallery(folder).add("PayPal", tmp_path / "mark.png")
    assert found("a job") == [], "the gallery is listed every few seconds only"
    assert found("the next job") == ["PayPal"]


def test_colocated_detectors_are_idle_together(models):
    one = Replica({"nsfw": {"idle_s": 1}, "ocr": {"idle_s": 100}}, make=Model)
    one.used -= 50
    assert not one._is_idle()
    one.used -= 51
    assert one._is_idle()
    gc.unfreeze()


def test_a_response_states_its_gpu_seconds_by_the_replicas_share_of_a_card(models):
    response = asyncio.run(Replica({"nsfw": {}}, 0.5, make=Model).detect("nsfw", [Sample(text="a")], "a client"))
    assert response.seconds > 0 and response.gpu_seconds == response.seconds / 2


def test_a_replica_whose_call_does_not_end_fails_its_health_check(models):
    one = replica(deadline_s=30)
    one.began = [time.monotonic() - 20]
    asyncio.run(one.check_health())
    one.began = [time.monotonic(), time.monotonic() - 40]
    with pytest.raises(TimeoutError, match="a call has not ended in 40 s; deadline_s allows less"):
        asyncio.run(one.check_health())


def test_a_replica_reports_how_long_it_has_worked_on_its_oldest_call(models):
    one = replica()
    assert asyncio.run(one.working_s()) is None
    one.began = [time.monotonic() - 3, time.monotonic() - 20]
    assert 20 <= asyncio.run(one.working_s()) < 25


def test_calls_of_a_detector_are_measured_and_its_example_is_not(models):
    one = replica()
    with recorded() as values:
        asyncio.run(one.answers_example("nsfw"))
        assert values == []
        asyncio.run(one.detect("nsfw", [Sample(text="a"), Sample(text="b")], "a client"))
    (seconds, batch, samples) = values
    assert batch == ("raysift_detector_batch_samples", 2.0, {"detector": "nsfw"})
    assert seconds[0] == "raysift_detector_seconds" and 0 <= seconds[1] < 1 and seconds[2] == {"detector": "nsfw"}
    assert samples == ("raysift_detector_samples_total", 2.0, {"detector": "nsfw"})


def test_a_call_that_fails_is_not_measured_so_that_seconds_and_samples_are_of_the_same_calls(models):
    one = replica()
    one.detectors["nsfw"].detect = lambda samples: 1 / 0
    with recorded() as values, pytest.raises(ZeroDivisionError):
        asyncio.run(one.detect("nsfw", [Sample(text="a")], "a client"))
    assert values == []
