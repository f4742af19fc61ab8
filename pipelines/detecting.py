"""Files in, one result each: their frames and sounds stream through every detector, many files in one stream."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cluster.errors import MediaError
from cluster.records import Analyzer, Answer, Detection, Failure, Finding, MediaItem, Modality, Result, Sample
from cluster.settings import Decoding
from pipelines import decoding

T = TypeVar("T")


class Detectors(Protocol):
    """Whoever answers for samples: the Serve deployments, or a test's stand-in."""

    @property
    def models(self) -> Mapping[str, str]:
        """The model of each detector, by the detector's name."""

    def taking(self, modality: Modality) -> set[str]:
        """The detectors that look at such samples."""

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, list[Answer]]:
        """Hand the samples to all these detectors at once; one answer a sample of each."""


@dataclass
class File:
    """A local copy of a file on its way through the detectors, and what is known of it so far."""

    item: MediaItem
    path: Path | None  # None: it could not be fetched
    sha256: str | None
    wanted: frozenset[str]  # detectors that are to answer for it
    media: decoding.Media | None = None
    frames: int = 0
    frames_carried: int = 0
    thumbnail: bytes | None = None
    findings: list[Finding] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    passages: list[int] = field(default_factory=list)  # findings whose words others take

    def fail(self, step: str, reason: str) -> None:
        """Note a failure; the same one in every chunk is one failure."""
        if Failure(step, reason) not in self.failures:
            self.failures.append(Failure(step, reason))

    def result(self, models: Mapping[str, str]) -> Result:
        """What the file's row will say. Findings are in a stable order: by detector, then time."""
        media = self.media
        return Result(
            item=self.item,
            sha256=self.sha256,
            width=media.width if media else None,
            height=media.height if media else None,
            duration_s=media.duration_s if media else None,
            frames=self.frames,
            frames_carried=self.frames_carried,
            findings=tuple(sorted(self.findings, key=lambda f: (f.detector, _begins(f.detection)))),
            failures=tuple(self.failures),
            analyzers=tuple(Analyzer(name, models[name]) for name in sorted(self._answered())),
            thumbnail=self.thumbnail,
        )

    def _answered(self) -> frozenset[str]:
        """Who need not be asked again: all that were wanted but those that failed; nobody, if it was never fetched."""
        failed = {failure.step for failure in self.failures}
        return frozenset() if "fetch" in failed else self.wanted - failed


async def analyze(files: list[File], detectors: Detectors, limits: Decoding) -> list[Result]:
    """One result a file, in order, whatever happens to it: a failure is part of its result."""
    await asyncio.to_thread(_probe, files, limits)
    readable = [file for file in files if file.media is not None]
    await asyncio.gather(_look(readable, detectors, limits), _listen(readable, detectors, limits))
    await _read(readable, detectors)
    return [file.result(detectors.models) for file in files]


def _probe(files: list[File], limits: Decoding) -> None:
    for file in files:
        if file.path is None:
            continue
        try:
            kind = decoding.sniff(file.path)  # the name may say another
            file.item = replace(file.item, kind=kind)
            file.media = decoding.probe(file.path, kind, limits)
        except MediaError as error:
            file.fail(error.step, error.reason)


async def _look(files: list[File], detectors: Detectors, limits: Decoding) -> None:
    """Stream the frames of all files, in chunks that do not care where one file ends, through the image detectors."""
    names = detectors.taking("image")
    last: dict[int, list[Finding]] = {}  # by file: what was found in the last frame that was looked at
    async for chunk in _chunks(_frames(files, limits), limits.chunk_frames):
        fresh = [
            (file, one.sample) for file, one in chunk if isinstance(one, decoding.Frame) and not one.same_as_before
        ]
        asked = names & {name for file, _ in fresh for name in file.wanted}
        answers = await detectors.ask(asked, [sample for _, sample in fresh]) if asked else {}
        position = iter(range(len(fresh)))
        for file, one in chunk:
            if isinstance(one, MediaError):
                file.fail(one.step, one.reason)
                continue
            file.frames += 1
            file.frames_carried += one.same_as_before
            if one.same_as_before:
                file.findings += _carried(last[id(file)], one.sample.time_s)
                continue
            if file.thumbnail is None and one.sample.pixels is not None:
                file.thumbnail = decoding.thumbnail(one.sample.pixels)
            before = len(file.findings)
            _note(file, one.sample, next(position), answers, detectors.models)
            last[id(file)] = file.findings[before:]


def _frames(files: list[File], limits: Decoding) -> Iterator[tuple[File, decoding.Frame | MediaError]]:
    for file in files:
        if file.item.kind == "audio" or file.path is None or file.item.kind is None:
            continue
        try:
            for frame in decoding.frames(file.path, file.item.kind, limits):
                yield file, frame
        except MediaError as error:
            yield file, error


def _carried(findings: list[Finding], time_s: float | None) -> list[Finding]:
    """The findings of a frame, for one that looks the same. Their vectors would only be found twice."""
    return [
        replace(finding, carried=True, detection=replace(finding.detection, time_s=time_s, vectors=()))
        for finding in findings
    ]


def _note(file: File, sample: Sample, n: int, answers: dict[str, list[Answer]], models: Mapping[str, str]) -> None:
    """Write down what each detector answered for the n-th sample of its batch."""
    for name in sorted(file.wanted & answers.keys()):
        answer = answers[name][n]
        if isinstance(answer, Failure):
            file.fail(answer.step, answer.reason)
            continue
        worded = [len(file.findings) + k for k, found in enumerate(answer) if found.text]
        # what is read in one frame is searched as a whole: its vector lies with its first line
        file.passages += worded if sample.modality == "sound" else worded[:1]
        file.findings += [Finding(name, models[name], found.at(sample.time_s)) for found in answer]


async def _listen(files: list[File], detectors: Detectors, limits: Decoding) -> None:
    names = detectors.taking("sound")
    for file in files:
        wanted = file.wanted & names
        if not wanted or file.path is None or file.media is None or not file.media.has_sound:
            continue
        try:
            async for (piece,) in _chunks(decoding.sound(file.path, limits), 1):
                _note(file, piece, 0, await detectors.ask(wanted, [piece]), detectors.models)
        except MediaError as error:
            file.fail(error.step, error.reason)


async def _read(files: list[File], detectors: Detectors) -> None:
    """Hand what was read and said to those who take words: it gets their vectors; what they find in it is new."""
    names = detectors.taking("text")
    places = [(file, n) for file in files if file.wanted & names for n in file.passages]
    asked = names & {name for file, _ in places for name in file.wanted}
    samples = [Sample(text=_passage(file, n)) for file, n in places]
    for name, answers in (await detectors.ask(asked, samples) if samples else {}).items():
        for (file, n), answer in zip(places, answers, strict=True):
            if name not in file.wanted:
                continue
            if isinstance(answer, Failure):
                file.fail(answer.step, answer.reason)
                continue
            vectors = tuple(vector for detection in answer for vector in detection.vectors)
            finding = file.findings[n]
            if vectors:
                file.findings[n] = replace(finding, detection=replace(finding.detection, vectors=vectors))
            own = (found for found in answer if not found.vectors)
            file.findings += [Finding(name, detectors.models[name], _placed(file, n, found)) for found in own]


def _placed(file: File, n: int, found: Detection) -> Detection:
    """Something found in a passage, where and when the passage was seen or heard."""
    words = (found.text or "").lower()
    line = next((one for one in _lines(file, n) if words in (one.text or "").lower()), file.findings[n].detection)
    return replace(found, time_s=line.time_s, span=line.span, box=line.box)


def _passage(file: File, n: int) -> str:
    """What is embedded for a finding: a sentence that was said, or all that was read in its frame."""
    return " ".join(line.text for line in _lines(file, n) if line.text)


def _lines(file: File, n: int) -> list[Detection]:
    """A sentence that was said, or all lines that were read in its frame."""
    first = file.findings[n]
    if first.detection.span is not None:
        return [first.detection]
    return [
        finding.detection
        for finding in file.findings[n:]
        if finding.detector == first.detector and finding.detection.time_s == first.detection.time_s
    ]


def _begins(detection: Detection) -> float:
    if detection.span is not None:
        return detection.span[0]
    return -1.0 if detection.time_s is None else detection.time_s


async def _chunks(source: Iterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of so many, made in a thread; the next is in the making while the caller works on this one."""

    def take() -> list[T]:
        return list(islice(source, size))

    coming: asyncio.Task[Any] = asyncio.create_task(asyncio.to_thread(take))
    while chunk := await coming:
        coming = asyncio.create_task(asyncio.to_thread(take))
        yield chunk
