"""Stubs of Serve deployment handles."""

import asyncio
from typing import Any

from ray.exceptions import RayActorError, RayTaskError

from cluster.records import Detection, Sample
from deployments.detector import DetectorResponse
from deployments.detectors.clip import ClipConfig
from deployments.serving.client import ServedDetectors

FOUND = [Detection("x", 1.0)]


class Call:
    """The result of a call of a handle: an awaitable that can be cancelled."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.cancelled = False

    def __await__(self):
        return self.answer.__await__()

    def cancel(self) -> None:
        """Record that the caller cancelled this call."""
        self.cancelled = True


class Failing:
    """A handle of another deployment, whose every call raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name):
        return self

    async def remote(self, *arguments):
        """Raise the error."""
        raise self.error


class Handle:
    """A stub with the interface of Serve's handles, `.detect.remote(name, batch, client)`.

    The first calls raise `faults`, in order. A batch that contains the text `poison` fails; one with the text `slow`
    never ends. `ready` says whether the detector answers its own example.
    """

    def __init__(self, *faults: Exception | None, poison: str = "", ready: bool = True, slow: str = "") -> None:
        self.faults = list(faults)
        self.poison = poison
        self.slow = slow
        self.ready = ready
        self.calls: list[int] = []
        self.made: list[Call] = []
        self.detect = self.answers_example = self

    def broadcast(self, method: str):
        """Serve's broadcast of `counts`; this stub is also its result."""
        assert method == "counts"
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool):
        """The counts of three replicas, of which the second has died."""
        assert return_exceptions
        if self.faults:
            raise self.faults[0]
        return [{"batch halved": 2}, RayActorError(), {}]

    def remote(self, name: str, batch: list[Sample] | None = None, client: str = "") -> Call:
        """Call `detect` with a batch, or without one `answers_example`."""
        self.made.append(Call(self._example() if batch is None else self._answer(batch)))
        return self.made[-1]

    async def _example(self) -> int:
        if not self.ready:
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


def served(handles: dict[str, Handle], raise_if_away: bool = True, **options: Any) -> ServedDetectors:
    """A client of these handles that retries failed calls without delay."""
    configs = {name: ClipConfig(deadline_s=0.05) for name in handles}
    detectors = ServedDetectors(
        handles, {}, configs, **{"detector_timeout_s": 60.0} | options, raise_if_away=raise_if_away
    )
    detectors.back_off_s = 0
    return detectors


def ask(handle: Handle, *texts: str, **options: Any) -> DetectorResponse:
    """Send samples with these texts to a detector `clip` behind the handle; returns its response."""
    return asyncio.run(served({"clip": handle}, **options).ask(["clip"], [Sample(text=text) for text in texts]))["clip"]
