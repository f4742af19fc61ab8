"""The answers to readiness probes; detectors are stand-ins."""

import asyncio
import threading
import time

import pytest

from cluster.api_types import DetectorHealth
from cluster.api_types import DetectorState as State
from deployments.serving import health
from deployments.serving.health import Readiness
from tests.cluster.metrics.recorded import recorded


class Detector:
    """A detector's handle. `answers_example.remote` returns `finds`, raises it if it is an error, hangs if it is None.

    `broadcast` tells how long each replica has worked on its oldest call; an error in place of a replica that hangs.
    """

    def __init__(self, finds=1, working_s=()):
        self.finds = finds
        self.working_s = working_s
        self.examples = 0  # number of calls
        self.answers_example = self

    async def remote(self, name):
        self.examples += 1
        while self.finds is None:
            await asyncio.sleep(0.01)
        if isinstance(self.finds, Exception):
            raise self.finds
        return self.finds

    def broadcast(self, method):
        assert method == "working_s"
        return self

    async def results_async(self, timeout_s, return_exceptions):
        if isinstance(self.working_s, Exception):
            raise self.working_s
        return list(self.working_s)


@pytest.fixture
def quick(monkeypatch):
    """Short time-outs."""
    monkeypatch.setattr(health, "EXAMPLE_WITHIN_S", 0.05)
    monkeypatch.setattr(health, "CONDITIONS_WITHIN_S", 0.05)


def up(names):
    return dict.fromkeys(names, "up")


async def states(readiness):
    return {name: detector.state for name, detector in (await readiness.detectors()).items()}


def test_many_probes_send_a_detector_one_example_and_the_answer_is_valid_for_seconds():
    ocr = Detector()

    async def scenario():
        readiness = Readiness({"ocr": ocr}, up)
        assert await asyncio.gather(*(states(readiness) for _ in range(20))) == [{"ocr": State.OK}] * 20
        ocr.finds = 0
        assert await states(readiness) == {"ocr": State.OK} and ocr.examples == 1
        readiness._until -= health.VALID_S
        assert await states(readiness) == {"ocr": State.FAILING} and ocr.examples == 2

    asyncio.run(scenario())


def test_a_probe_that_is_cancelled_does_not_end_the_check_for_the_others():
    ocr = Detector(None)

    async def scenario():
        readiness = Readiness({"ocr": ocr}, up)
        first, second = (asyncio.create_task(states(readiness)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        ocr.finds = 1
        assert await second == {"ocr": State.OK}

    asyncio.run(scenario())


def test_a_detector_that_is_not_ready_is_named_with_its_reason():
    handles = {
        "face": Detector(ValueError("x")),
        "ocr": Detector(),
        "clip": Detector(0),
        "nsfw": Detector(),
        "logo": Detector(),
    }
    readiness = Readiness(handles, lambda names: up(names) | {"nsfw": "down", "logo": "asleep"})
    answer = asyncio.run(readiness.detectors())
    assert answer == {
        "face": DetectorHealth(state=State.FAILING, message="it does not answer: ValueError"),
        "ocr": DetectorHealth(state=State.OK, message="it answers"),
        "clip": DetectorHealth(state=State.FAILING, message="it finds nothing on its own example"),
        "nsfw": DetectorHealth(state=State.DOWN, message="none of its replicas runs"),
        "logo": DetectorHealth(state=State.ASLEEP, message="it starts at the next request"),
    }
    assert [name for name, detector in answer.items() if detector.state.is_ready] == ["ocr", "logo"]


def test_a_detector_whose_example_waits_is_ready_until_it_has_not_answered_for_minutes(quick):
    ocr = Detector(None)

    async def scenario():
        readiness = Readiness({"ocr": ocr}, up)
        for _ in range(2):
            readiness._until = 0
            (busy,) = (await readiness.detectors()).values()
            assert (busy.state, busy.message) == (State.BUSY, "it last answered 0 s ago") and busy.state.is_ready
        assert ocr.examples == 1, "its queue is not filled with examples"
        readiness._until, readiness.answered["ocr"] = 0, time.monotonic() - 301
        (silent,) = (await readiness.detectors()).values()
        assert silent == DetectorHealth(state=State.SILENT, message="it has not answered for 301 s")
        assert not silent.state.is_ready
        ocr.finds, readiness._until = 1, 0
        await asyncio.sleep(0.05)
        assert await states(readiness) == {"ocr": State.OK}

    asyncio.run(scenario())


def test_a_detector_that_works_on_a_long_call_is_busy_however_long_its_example_waits(quick):
    whisper = Detector(None, working_s=[None, 12.0, 806.4, RuntimeError("this replica hangs")])

    async def scenario():
        readiness = Readiness({"whisper": whisper}, up)
        readiness.answered["whisper"] -= 2000
        (busy,) = (await readiness.detectors()).values()
        assert busy == DetectorHealth(state=State.BUSY, message="it has worked on a call for 806 s")
        for idle in ([None], [], TimeoutError()):
            whisper.working_s, readiness._until = idle, 0
            assert await states(readiness) == {"whisper": State.SILENT}
        whisper.finds = 1

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["hangs", "raises"])
def test_while_rays_head_is_away_detectors_that_answer_are_ready(quick, fault):
    back = threading.Event()

    def away(names):
        if fault == "raises":
            raise ConnectionError("no head")
        back.wait(20)
        return {}

    assert asyncio.run(states(Readiness({"ocr": Detector()}, away))) == {"ocr": State.OK}
    back.set()


def test_each_check_of_a_detector_is_counted_by_its_state():
    with recorded() as values:
        asyncio.run(Readiness({"ocr": Detector(), "face": Detector(0)}, lambda names: {}).detectors())
    assert [(name, labels) for name, _, labels in values] == [
        ("raysift_detector_probes_total", {"detector": "ocr", "state": "ok"}),
        ("raysift_detector_probes_total", {"detector": "face", "state": "failing"}),
    ]
