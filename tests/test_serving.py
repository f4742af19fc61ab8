"""Asking the served detectors: what is tried again, and what one bad sample costs. The handles are stand-ins."""

import asyncio

from ray.exceptions import RayActorError, RayTaskError

from cluster.records import Detection, Failure, Sample
from deployments.serving import ServedDetectors

FOUND = [Detection("x", 1.0)]


class Handle:
    """A deployment handle: `.detect.remote(batch)`, as Serve has it."""

    def __init__(self, dies: int = 0, poison: str = "") -> None:
        self.dies = dies
        self.poison = poison
        self.calls: list[int] = []
        self.detect = self

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
