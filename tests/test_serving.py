"""A replica by itself, and asking the served detectors, without a cluster: models and handles are stand-ins."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError

from cluster.gpus import Card
from cluster.records import Detection, Failure, Sample
from cluster.settings import Settings
from deployments import backends, counting
from deployments.serving import DetectorDeployment, ServedDetectors, deployments

FOUND = [Detection("x", 1.0)]


class Handle:
    """A deployment handle: `.detect.remote(batch)`, as Serve has it."""

    def __init__(self, dies: int = 0, poison: str = "") -> None:
        self.dies = dies
        self.poison = poison
        self.calls: list[int] = []
        self.detect = self

    def broadcast(self, method: str):
        assert method == "counts"
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool):
        assert return_exceptions
        if self.dies:
            raise DeploymentUnavailableError(None)
        return [{"batch halved": 2}, RayActorError(), {}]

    async def remote(self, name: str, batch: list[Sample]) -> list[list[Detection]]:
        self.calls.append(len(batch))
        if len(self.calls) <= self.dies:
            raise RayActorError()
        if any(sample.text == self.poison for sample in batch):
            raise RayTaskError("detect", "a traceback", ValueError("too odd"))
        return [FOUND for _ in batch]


def ask(handle: Handle, *texts: str, attempts: int = 3):
    detectors = ServedDetectors({"clip": handle}, {"clip": "m"}, attempts)
    detectors.back_off_s = 0
    return asyncio.run(detectors.ask(["clip"], [Sample(text=text) for text in texts]))["clip"]


def test_a_replica_that_dies_is_asked_again():
    handle = Handle(dies=2)
    assert ask(handle, "a", "b") == [FOUND, FOUND]
    assert handle.calls == [2, 2, 2]


def test_a_detector_that_stays_away_is_a_failure_of_its_own_for_every_sample():
    answers = ask(Handle(dies=9), "a", "b")
    assert [answer.step for answer in answers] == ["clip", "clip"]
    assert "3 attempts" in answers[0].reason


def test_a_sample_that_a_detector_fails_on_costs_the_others_of_its_batch_nothing():
    answers = ask(Handle(poison="b"), "a", "b", "c")
    assert answers[0] == answers[2] == FOUND
    assert answers[1] == Failure("clip", "the detector failed on it: ValueError: too odd")


def test_which_detectors_take_what_is_known_from_their_classes():
    detectors = ServedDetectors(dict.fromkeys(["clip", "ocr", "whisper"]), {}, 1)
    assert detectors.taking("image") == {"clip", "ocr"}
    assert detectors.taking("sound") == {"whisper"}
    assert detectors.taking("text") == {"clip"}


def test_what_each_replica_counted_is_told_and_who_does_not_answer_tells_nothing():
    detectors = ServedDetectors({"clip": Handle(), "ocr": Handle(dies=1)}, {}, 1)
    assert asyncio.run(detectors.events()) == {"clip": [{"batch halved": 2}, {}], "ocr": []}


class Model:
    """A detector that answers, and keeps what it is told to keep."""

    made: ClassVar[list[Any]] = []

    def __init__(self, name, config):
        self.kept = []
        self.itself = self  # as networks of real libraries do
        self.network = backends.shared("test-serving", Network)
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
    backends.forget()
    Model.made = []
    yield Model.made
    backends.forget()


def replica(**config):
    return DetectorDeployment.func_or_class({"nsfw": config}, make=Model)


def test_a_replica_whose_memory_keeps_growing_fails_its_health_check(models):
    one = replica(max_growth_gb=0.1)

    async def life():
        await one.check_health()
        await one.detect("nsfw", [Sample(text="leak")])
        await one.check_health()  # within its bounds
        await one.detect("nsfw", [Sample(text="leak"), Sample(text="leak")])
        for _ in range(3):  # as often as Serve asks before it replaces a replica
            with pytest.raises(MemoryError, match=r"main memory has grown by 0\.1\d GB; max_growth_gb allows less"):
                await one.check_health()

    asyncio.run(life())


def test_what_the_card_holds_counts_as_growth_too(models):
    one = replica()
    one.loaded_gb = {**one.loaded_gb, "card": -5.0}
    with pytest.raises(MemoryError, match=r"card memory has grown by 5\.00 GB"):
        asyncio.run(one.check_health())


def test_an_idle_replica_lets_its_models_go_and_loads_them_for_the_next_request(models):
    one = replica(idle_s=0.01)
    network = weakref.ref(backends.shared("test-serving", Network))

    async def life():
        one.used -= 1
        await one.check_health()
        one.thread.submit(int).result()  # after what was submitted before
        assert [model() for model in models] == [None] and network() is None
        assert await one.answers_example("nsfw") == 1, "what it found when it was loaded"
        assert len(models) == 1, "to ask whether it is ready does not load it"
        assert await one.detect("nsfw", [Sample(text="a"), Sample(text="b")]) == [FOUND, FOUND]
        assert len(models) == 2
        return await one.counts()

    before = counting.counts()
    after = asyncio.run(life())
    for event in ("models let go", "models loaded again"):
        assert after[event] == before.get(event, 0) + 1


def test_to_ask_whether_it_is_ready_does_not_keep_a_replica_from_being_idle(models):
    one = replica(idle_s=30)
    one.used -= 60
    assert asyncio.run(one.answers_example("nsfw")) == 1
    assert one._idle()


def test_a_replica_that_is_used_or_was_told_no_idle_s_keeps_its_models(models):
    for config in ({"idle_s": 60}, {}):
        one = replica(**config)
        asyncio.run(one.check_health())
        one.thread.submit(int).result()
        assert one.detectors


def test_a_request_that_came_first_keeps_the_models_that_were_about_to_go(models):
    one = replica(idle_s=30)
    one.used -= 60

    async def life():
        asked = asyncio.ensure_future(one.detect("nsfw", [Sample(text="a")]))
        await asyncio.sleep(0)  # its request is with the thread now
        await one.check_health()
        await asked
        one.thread.submit(int).result()

    asyncio.run(life())
    assert one.detectors and len(models) == 1


def test_detectors_that_live_together_are_idle_together(models):
    one = DetectorDeployment.func_or_class({"nsfw": {"idle_s": 1}, "ocr": {"idle_s": 100}}, make=Model)
    one.used -= 50
    assert not one._idle()
    one.used -= 51
    assert one._idle()
    gc.unfreeze()


@pytest.mark.parametrize(("cards", "share", "visible"), [([], 0, ""), ([Card("A", 10, 10)], 0.2, None)])
def test_who_is_given_no_share_of_a_card_sees_none(cards, share, visible):
    deployed = deployments(Settings(detectors={"ocr": {"gpu_memory_gb": 2}}), cards)["ocr"]._bound_deployment
    assert deployed.ray_actor_options["num_gpus"] == share
    assert deployed.ray_actor_options["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == visible
    assert deployed.init_args[1] == share


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_serve_replaces_a_replica_whose_memory_keeps_growing():
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-m", "leaking"]
    done = subprocess.run(command, cwd=Path(__file__).parent, env=plain, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["before"] != told["after"], "the same process went on"
    assert told["cards"] == "", "it was given none"
    assert told["events"] == [{"made": 1}]
