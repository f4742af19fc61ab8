"""Who is asked, about which files, and what has come of it so far."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cluster.records import (
    Detection,
    Failure,
    Finding,
    MediaItem,
    Modality,
    ModelVersion,
    Result,
    Sample,
    Segment,
    Usage,
)
from deployments.detector import DetectorAway, DetectorResponse
from pipelines.detect.memo import Content, Facts
from pipelines.media.decoding import Media
from pipelines.media.sources import Source


class Detectors(Protocol):
    """Whoever answers for samples: the Serve deployments, or a test's stand-in."""

    @property
    def model_versions(self) -> Mapping[str, ModelVersion]:
        """What each detector's answers are stored as the work of, by the detector's name."""

    @property
    def states(self) -> Mapping[str, str]:
        """What else each one's answers depend on; asked for only where answers are remembered."""

    def taking(self, modality: Modality) -> set[str]:
        """The detectors that look at such samples."""

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """Hand the samples to all these detectors at once; one answer a sample of each. DetectorAway if not."""


@dataclass
class File:
    """A file, or a segment of one, on its way through the detectors, and what is known of it so far."""

    item: MediaItem
    source: Source | None  # None: it could not be fetched
    sha256: str | None
    wanted: frozenset[str]  # detectors that are to answer for it
    segment: Segment | None = None
    media: Media | None = None
    frames: int = 0
    frames_propagated: int = 0
    thumbnail: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    context: list[Finding] = field(default_factory=list)  # remembered of others: their words are for those wanted
    known: Facts | None = None
    missing: frozenset[str] = field(init=False)  # of those wanted: who has no answer in the cache
    reused: set[str] = field(default_factory=set)  # who has
    costs: dict[str, tuple[float, float]] = field(default_factory=dict)  # of who was asked: seconds, GPU-seconds

    def __post_init__(self) -> None:
        self.missing = self.wanted

    @property
    def content(self) -> Content | None:
        """What its answers may be remembered as."""
        return Content(self.sha256, self.segment) if self.sha256 and self.source is not None else None

    def fail(self, step: str, reason: str) -> None:
        """Note a failure; the same one in every chunk is one failure."""
        if Failure(step, reason) not in self.failures:
            self.failures.append(Failure(step, reason))

    def failed(self) -> set[str]:
        """The steps that something failed at."""
        return {failure.step for failure in self.failures}

    def charge(self, name: str, seconds: float, gpu_seconds: float) -> None:
        """Note what it cost to ask a detector."""
        before = self.costs.get(name, (0.0, 0.0))
        self.costs[name] = before[0] + seconds, before[1] + gpu_seconds

    def result(self, model_versions: Mapping[str, ModelVersion]) -> Result:
        """What its row will say. Findings are in a stable order: by detector, then time."""
        media = self.media
        return Result(
            item=self.item,
            segment=self.segment,
            sha256=self.sha256,
            width=media.width if media else None,
            height=media.height if media else None,
            duration_s=media.duration_s if media else None,
            frames=self.frames,
            frames_propagated=self.frames_propagated,
            findings=tuple(sorted(self.findings, key=lambda f: (f.detector, _begins(f.detection)))),
            failures=tuple(self.failures),
            model_versions=tuple(model_versions[name] for name in sorted(self._answered())),
            usage=tuple(map(self._usage, sorted(self.wanted))),
            thumbnail=self.thumbnail,
        )

    def _answered(self) -> frozenset[str]:
        """Who need not be asked again: all that were wanted but those that failed; nobody, if it was never fetched."""
        return frozenset() if "fetch" in self.failed() else self.wanted - self.failed()

    def _usage(self, name: str) -> Usage:
        return Usage(name, *self.costs.get(name, (0.0, 0.0)), reused=name in self.reused and name not in self.costs)


class FanOut:
    """The detectors, asked for one batch of files. Who is away is asked no more, so that the others can finish."""

    def __init__(self, detectors: Detectors) -> None:
        self.detectors = detectors
        self.model_versions = detectors.model_versions
        self.away: set[str] = set()

    def taking(self, modality: Modality) -> set[str]:
        return self.detectors.taking(modality)

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """The answers of those that are not away."""
        there = set(names) - self.away
        try:
            return await self.detectors.ask(there, samples) if there and samples else {}
        except DetectorAway as error:
            self.away |= there - error.answered.keys()
            return error.answered

    async def ask_each(
        self, pairs: list[tuple[File, Sample]], names: Iterable[str]
    ) -> list[dict[str, DetectorResponse]]:
        """For every sample, what the detectors that its file misses answered, with its part of what that cost.

        Each detector is asked about all its samples at once.
        """
        told: list[dict[str, DetectorResponse]] = [{} for _ in pairs]
        groups: dict[tuple[int, ...], set[str]] = {}
        for name in names:
            places = tuple(n for n, (file, _) in enumerate(pairs) if name in file.missing)
            groups.setdefault(places, set()).add(name)

        async def ask(places: tuple[int, ...], group: set[str]) -> None:
            for name, asked in (await self.ask(group, [pairs[n][1] for n in places])).items():
                each = len(places)
                for n, answer in zip(places, asked.answers, strict=True):
                    told[n][name] = DetectorResponse([answer], asked.seconds / each, asked.gpu_seconds / each)

        await asyncio.gather(*(ask(places, group) for places, group in groups.items()))
        return told

    def complain(self) -> None:
        """DetectorAway if one was away."""
        if self.away:
            raise DetectorAway(", ".join(sorted(self.away)))


def _begins(detection: Detection) -> float:
    if detection.span is not None:
        return detection.span[0]
    return -1.0 if detection.time_s is None else detection.time_s
