"""The fan-out: samples of many files to many detectors at once, and each file's findings so far."""

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
    asset_id,
)
from deployments.detector import DetectorAway, DetectorResponse
from pipelines.detect.memo import Content, Facts
from pipelines.media.decoding import Media
from pipelines.media.sources import Source

FILE_TEXT = ModelVersion("file-text", "stored in the file", 0.0)  # text of the file itself: no detector is asked


class Detectors(Protocol):
    """The interface of the served detectors, which tests replace."""

    @property
    def model_versions(self) -> Mapping[str, ModelVersion]:
        """Detector name -> the model version that its answers are stored under."""

    @property
    def states(self) -> Mapping[str, str]:
        """Detector name -> what else its answers depend on; read only where answers are cached."""

    def taking(self, modality: Modality) -> set[str]:
        """The names of the detectors that take samples of a modality."""

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """Send the samples to these detectors; a response has one answer per sample. DetectorAway if one is away."""


@dataclass
class File:
    """A file or segment under analysis, with its results so far."""

    item: MediaItem
    source: Source | None  # None: it could not be fetched
    sha256: str | None
    wanted: frozenset[str]  # detectors that are to analyse it
    segment: Segment | None = None
    contents: str | None = None  # of a container: what is in it, in words
    members: int | None = None  # of a container of a bucket: how many units lie in it
    is_disguised: bool = False  # a container that its name did not tell: its members are parts of its own row
    media: Media | None = None
    frames: int = 0
    frames_propagated: int = 0
    thumbnail: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    context: list[Finding] = field(default_factory=list)  # of detectors that were not wanted, for its text
    known: Facts | None = None
    missing: frozenset[str] = field(init=False)  # wanted detectors without an answer in the cache
    has_file_text: bool = False  # it was read, or taken from the memo, whatever is wanted
    reused: set[str] = field(default_factory=set)  # wanted detectors with an answer in the cache
    costs: dict[str, tuple[float, float]] = field(default_factory=dict)  # detector -> seconds, GPU-seconds

    def __post_init__(self) -> None:
        self.missing = self.wanted

    @property
    def asset(self) -> str:
        """Its id, which logs and traces may have, unlike its name."""
        return asset_id(self.item.uri)

    @property
    def content(self) -> Content | None:
        """The key of its answers in the memo; None if the file was not fetched."""
        return Content(self.sha256, self.segment) if self.sha256 and self.source is not None else None

    def fail(self, step: str, reason: str) -> None:
        """Add a failure, unless the same one has been added for an earlier chunk."""
        if Failure(step, reason) not in self.failures:
            self.failures.append(Failure(step, reason))

    def failed(self) -> set[str]:
        """The steps that failed."""
        return {failure.step for failure in self.failures}

    def charge(self, name: str, seconds: float, gpu_seconds: float) -> None:
        """Add the cost of a detector's answer."""
        before = self.costs.get(name, (0.0, 0.0))
        self.costs[name] = before[0] + seconds, before[1] + gpu_seconds

    def result(self, model_versions: Mapping[str, ModelVersion]) -> Result:
        """The file's result. Findings are sorted by detector, then time."""
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
            findings=tuple(
                sorted([*self.findings, *self._contents()], key=lambda f: (f.detector, _begin_s(f.detection)))
            ),
            failures=tuple(self.failures),
            model_versions=self._versions(model_versions),
            usage=tuple(map(self._usage, sorted(self.wanted))),
            members=self.members,
            thumbnail=self.thumbnail,
        )

    def _versions(self, model_versions: Mapping[str, ModelVersion]) -> tuple[ModelVersion, ...]:
        """The versions of those that answered, sorted by name. FILE_TEXT too: readers keep findings of these only."""
        answered = [model_versions[name] for name in self._answered()]
        own = [FILE_TEXT] if (self.has_file_text or self.contents) and "fetch" not in self.failed() else []
        return tuple(sorted([*answered, *own], key=lambda version: version.detector))

    def _answered(self) -> frozenset[str]:
        """The wanted detectors that did not fail: they need not run again. Empty if the file was not fetched."""
        return frozenset() if "fetch" in self.failed() else self.wanted - self.failed()

    def _contents(self) -> list[Finding]:
        """What a container holds besides its units, as a finding: its row has no other place for what is no failure."""
        if self.contents is None:
            return []
        return [Finding(FILE_TEXT.detector, FILE_TEXT.model, Detection("members", 1.0, evidence=self.contents))]

    def _usage(self, name: str) -> Usage:
        return Usage(name, *self.costs.get(name, (0.0, 0.0)), reused=name in self.reused and name not in self.costs)


class FanOut:
    """Calls detectors for one batch of files. An unavailable one is not called again, so that the others can finish."""

    def __init__(self, detectors: Detectors) -> None:
        self.detectors = detectors
        self.model_versions = detectors.model_versions
        self.away: set[str] = set()

    def taking(self, modality: Modality) -> set[str]:
        """The names of the detectors that take samples of a modality."""
        return self.detectors.taking(modality)

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        """The responses of the available detectors."""
        present = set(names) - self.away
        try:
            return await self.detectors.ask(present, samples) if present and samples else {}
        except DetectorAway as error:
            self.away |= present - error.answered.keys()
            return error.answered

    async def ask_each(
        self, pairs: list[tuple[File, Sample]], names: Iterable[str]
    ) -> list[dict[str, DetectorResponse]]:
        """For each sample, the responses of the detectors that its file still needs, with its share of the cost.

        Each detector is called once, with all its samples.
        """
        responses: list[dict[str, DetectorResponse]] = [{} for _ in pairs]
        groups: dict[tuple[int, ...], set[str]] = {}
        for name in names:
            places = tuple(n for n, (file, _) in enumerate(pairs) if name in file.missing)
            groups.setdefault(places, set()).add(name)

        async def ask(places: tuple[int, ...], group: set[str]) -> None:
            for name, response in (await self.ask(group, [pairs[n][1] for n in places])).items():
                each = len(places)
                for n, answer in zip(places, response.answers, strict=True):
                    cost = response.seconds / each, response.gpu_seconds / each
                    responses[n][name] = DetectorResponse([answer], *cost)

        await asyncio.gather(*(ask(places, group) for places, group in groups.items()))
        return responses

    def raise_if_away(self) -> None:
        """DetectorAway if a detector was away."""
        if self.away:
            raise DetectorAway(", ".join(sorted(self.away)))


def _begin_s(detection: Detection) -> float:
    """When a detection begins in its file, in seconds; -1 in a still image."""
    if detection.span is not None:
        return detection.span[0]
    return -1.0 if detection.time_s is None else detection.time_s
