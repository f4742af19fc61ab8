"""A replica by itself, and asking the served detectors, without a cluster: models and handles are stand-ins."""

import asyncio
import gc
import json
import os
import pickle
import subprocess
import sys
import time
import weakref
from typing import Any, ClassVar

import numpy as np
import pytest
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError

from cluster.errors import SettingsError
from cluster.gpus import Card
from cluster.records import Detection, Failure, Sample
from cluster.settings import Settings
from deployments import events
from deployments.detector import DetectorAway, DetectorResponse
from deployments.detectors.clip import ClipConfig
from deployments.models import runtime
from deployments.serving.deployment import ServedDetectors, conditions, deployments, versions
from deployments.serving.replica import Replica
from tests.support.paths import ROOT

FOUND = [Detection("x", 1.0)]


class Call:
    """What a handle gives at once for a call."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.cancelled = False

    def __await__(self):
        return self.answer.__await__()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment handle: `.detect.remote(name, batch)`, as Serve has it. Its first calls end in `faults`."""

    def __init__(self, *faults: Exception | None, poison: str = "", well: bool = True, slow: str = "") -> None:
        self.faults = list(faults)
        self.poison = poison
        self.slow = slow
        self.well = well
        self.calls: list[int] = []
        self.made: list[Call] = []
        self.detect = self.answers_example = self

    def broadcast(self, method: str):
        assert method == "counts"
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool):
        assert return_exceptions
        if self.faults:
            raise self.faults[0]
        return [{"batch halved": 2}, RayActorError(), {}]

    def remote(self, name: str, batch: list[Sample] | None = None) -> Call:
        self.made.append(Call(self._example() if batch is None else self._answer(batch)))
        return self.made[-1]

    async def _example(self) -> int:
        if not self.well:
            raise RayActorError()
        return 1

    async def _answer(self, batch: list[Sample]) -> DetectorResponse:
        self.calls.append(len(batch))
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        if self.slow in {sample.text for sample in batch}:
            await asyncio.Event().wait()
        if any(sample.text == self.poison for sample in batch):
            raise RayTaskError("detect", "a traceback", ValueError("too odd"))
        return DetectorResponse([FOUND for _ in batch], len(batch), len(batch) / 4)


def served(handles: dict[str, Handle], parks: bool = True, **options: Any) -> ServedDetectors:
    configs = {name: ClipConfig(deadline_s=0.05) for name in handles}
    detectors = ServedDetectors(handles, {}, configs, **{"detector_timeout_s": 60.0} | options, parks=parks)
    detectors.back_off_s = 0
    return detectors


def ask(handle: Handle, *texts: str, **options: Any) -> DetectorResponse:
    return asyncio.run(served({"clip": handle}, **options).ask(["clip"], [Sample(text=text) for text in texts]))["clip"]


DIED, GONE = RayActorError(), DeploymentUnavailableError(None)


@pytest.mark.parametrize("fault", [DIED, GONE, ObjectLostError("00" * 28, None, ""), ReplicaUnavailableError(None)])
def test_a_call_that_the_cluster_ended_is_made_again(fault):
    handle = Handle(fault, fault)
    assert ask(handle, "a", "b") == DetectorResponse([FOUND, FOUND], 2, 0.5)
    assert handle.calls == [2, 2, 2]


def test_who_is_waited_for_is_told_when_the_waiting_begins_and_when_it_is_over():
    told: list[tuple[str, bool]] = []
    ask(Handle(GONE, GONE), "a", tell=lambda *what: told.append(what))
    assert told == [("clip", True), ("clip", False)]
    ask(Handle(), "a", tell=lambda *what: told.append(what))
    assert told[2:] == [("clip", False)]  # once: another worker, which died, may have said that it waits


def test_a_job_whose_patience_is_over_is_told_who_stayed_away_and_what_the_others_answered():
    detectors = served({"clip": Handle(GONE), "ocr": Handle()}, detector_timeout_s=0)
    with pytest.raises(DetectorAway, match=r"^clip$") as raised:
        asyncio.run(detectors.ask(["clip", "ocr"], [Sample(text="a")]))
    assert raised.value.answered == {"ocr": DetectorResponse([FOUND], 1, 0.25)}


def test_that_a_detector_is_away_survives_the_way_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(DetectorAway("ocr", {"clip": DetectorResponse([FOUND])})))
    assert (error.name, str(error), error.answered) == ("ocr", "ocr", {"clip": DetectorResponse([FOUND])})


def test_for_one_who_waits_a_detector_that_stays_away_is_a_failure_of_its_own_for_every_sample():
    answers = ask(Handle(GONE), "a", "b", parks=False, detector_timeout_s=0).answers
    assert [answer.step for answer in answers] == ["clip", "clip"]
    assert "has not answered for 0 s" in answers[0].reason


def test_a_sample_that_a_detector_fails_on_costs_the_others_of_its_batch_nothing():
    asked = ask(Handle(poison="b"), "a", "b", "c")
    assert asked.answers[0] == asked.answers[2] == FOUND
    assert asked.answers[1] == Failure("clip", "the detector failed on it: ValueError: too odd")
    assert (asked.seconds, asked.gpu_seconds) == (2, 0.5)


def test_a_call_over_its_deadline_is_cancelled_and_a_sample_that_never_ends_is_the_files_fault():
    handle = Handle(slow="b")
    answers = ask(handle, "a", "b").answers
    assert answers == [FOUND, Failure("clip", "the detector failed on it: it took longer than deadline_s, 3 times")]
    assert sum(call.cancelled for call in handle.made) == 6, "three times with its neighbour, three times alone"


def test_a_sample_that_kills_every_replica_is_the_files_fault_if_the_detector_is_well():
    assert ask(Handle(DIED, DIED, DIED), "a").answers == [
        Failure("clip", "the detector failed on it: its process died, 3 times")
    ]


def test_while_a_detector_does_not_answer_its_own_example_either_no_sample_is_blamed():
    assert ask(Handle(*[DIED] * 9, well=False), "a").answers == [FOUND]


def test_which_detectors_take_what_is_known_from_their_classes():
    detectors = served(dict.fromkeys(["clip", "ocr", "whisper"], Handle()))
    assert detectors.taking("image") == {"clip", "ocr"}
    assert detectors.taking("sound") == {"whisper"}
    assert detectors.taking("text") == {"clip"}


def test_answers_depend_on_a_detectors_own_settings_and_not_on_how_it_is_served():
    one, other, served_otherwise = (
        ServedDetectors({"clip": Handle()}, {}, {"clip": config}).states["clip"]
        for config in (ClipConfig(), ClipConfig(labels=("a", "b")), ClipConfig(replicas=2, deadline_s=1, gpus=0.5))
    )
    assert one == served_otherwise != other


def test_what_each_replica_counted_is_told_and_who_does_not_answer_tells_nothing():
    detectors = served({"clip": Handle(), "ocr": Handle(GONE)})
    assert asyncio.run(detectors.events()) == {"clip": [{"batch halved": 2}, {}], "ocr": []}


class Model:
    """A detector that answers, and keeps what it is told to keep."""

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
    network = weakref.ref(runtime.shared("test-serving", Network))

    async def life():
        one.used -= 1
        await one.check_health()
        one.thread.submit(int).result()  # after what was submitted before
        assert [model() for model in models] == [None] and network() is None
        assert await one.answers_example("nsfw") == 1, "what it found when it was loaded"
        assert len(models) == 1, "to ask whether it is ready does not load it"
        assert (await one.detect("nsfw", [Sample(text="a"), Sample(text="b")])).answers == [FOUND, FOUND]
        assert len(models) == 2
        return await one.counts()

    before = events.counts()
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
    one = Replica({"nsfw": {"idle_s": 1}, "ocr": {"idle_s": 100}}, make=Model)
    one.used -= 50
    assert not one._idle()
    one.used -= 51
    assert one._idle()
    gc.unfreeze()


def test_a_replica_tells_what_an_answer_cost_by_its_share_of_a_card(models):
    asked = asyncio.run(Replica({"nsfw": {}}, 0.5, make=Model).detect("nsfw", [Sample(text="a")]))
    assert asked.seconds > 0 and asked.gpu_seconds == asked.seconds / 2


def test_a_replica_whose_call_does_not_end_fails_its_health_check(models):
    one = replica(deadline_s=30)
    one.began = [time.monotonic() - 20]
    asyncio.run(one.check_health())
    one.began = [time.monotonic(), time.monotonic() - 40]
    with pytest.raises(TimeoutError, match="a call has not ended in 40 s; deadline_s allows less"):
        asyncio.run(one.check_health())


def test_a_replica_says_how_long_it_has_worked_on_its_oldest_call(models):
    one = replica()
    assert asyncio.run(one.working_s()) is None
    one.began = [time.monotonic() - 3, time.monotonic() - 20]
    assert 20 <= asyncio.run(one.working_s()) < 25


def test_answers_are_stored_as_the_work_of_a_model_with_its_floor():
    ocr = versions(Settings(detectors={"ocr": {"floor": 0.25}}))["ocr"]
    assert (ocr.detector, ocr.floor) == ("ocr", 0.25) and ocr.model


def scaling(**config):
    return deployments(Settings(detectors={"ocr": config}), [])["ocr"]._bound_deployment


def test_a_detector_with_room_above_its_replicas_follows_the_requests():
    told = scaling(replicas=0, max_replicas=4, downscale_delay_s=60)._deployment_config.autoscaling_config
    assert (told.min_replicas, told.max_replicas, told.target_ongoing_requests) == (0, 4, 2)
    assert (told.upscale_delay_s, told.downscale_delay_s, told.downscale_to_zero_delay_s) == (5, 60, 300)
    assert scaling(replicas=0)._deployment_config.autoscaling_config.max_replicas == 1
    assert scaling(replicas=2)._deployment_config.autoscaling_config is None
    assert scaling(replicas=2, max_replicas=2).num_replicas == 2


def test_fewer_replicas_at_most_than_at_least_are_refused():
    with pytest.raises(SettingsError, match=r"detectors.ocr: .*max_replicas is 1, and replicas, the least, is 2"):
        scaling(replicas=2, max_replicas=1)


def test_without_a_cluster_nobody_is_asleep():
    assert conditions(["ocr"]) == {"ocr": "up"}


@pytest.mark.parametrize(("cards", "share", "visible"), [([], 0, ""), ([Card("A", 10, 10)], 0.2, None)])
def test_who_is_given_no_share_of_a_card_sees_none(cards, share, visible):
    deployed = deployments(Settings(detectors={"ocr": {"gpu_memory_gb": 2}}), cards)["ocr"]._bound_deployment
    assert deployed.ray_actor_options["num_gpus"] == share
    assert deployed.ray_actor_options["runtime_env"]["env_vars"].get("CUDA_VISIBLE_DEVICES") == visible
    assert deployed.init_args[1] == share


def in_a_ray_of_its_own(module: str) -> Any:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_serve_replaces_a_replica_whose_memory_keeps_growing():
    told = in_a_ray_of_its_own("tests.support.leaking")
    assert told["before"] != told["after"], "the same process went on"
    assert told["cards"] == "", "it was given none"
    assert told["events"] == [{"made": 1}]


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_a_detector_that_nobody_asks_has_no_replica_and_comes_and_grows_when_it_is_asked():
    told = in_a_ray_of_its_own("tests.support.scaling")  # it waits for three replicas, and for none again
    assert told["at first"] == {"nsfw": "asleep", "ocr": "down"} and told["once asked"] == {"nsfw": "up"}
    assert told["first answer"] < 60
