"""Files in, one result each: what was answered before is recalled, the rest streams through every detector."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from cluster.cache import Cache
from cluster.errors import MediaError
from cluster.records import Failure, Finding, Result, Sample
from cluster.settings import Decoding
from deployments.detector import DetectorAway, DetectorResponse
from pipelines.detect import memo
from pipelines.detect.fan_out import Detectors, FanOut, File
from pipelines.detect.memo import Asking, Content, Facts, Memory
from pipelines.detect.text_pass import read
from pipelines.media.decoding import Frame, Media, thumbnail
from pipelines.media.pool import Decoder

__all__ = ["DetectorAway", "Detectors", "File", "analyze"]

T = TypeVar("T")


async def analyze(
    files: list[File],
    detectors: Detectors,
    decoder: Decoder,
    limits: Decoding,
    cache: Cache | None = None,
    stored: bool = True,
) -> list[Result]:
    """One result a file, in order, whatever happens to it: a failure is part of its result.

    What the cache has is not computed again. DetectorAway when a detector stays away: what the others answered is in
    the cache then. `stored`: they will be rows, whose words need vectors.
    """
    memory = await asyncio.to_thread(lambda: Memory(cache, limits, detectors.states if cache else {}))
    for turn in _turns(files) if cache else [files]:
        panel = FanOut(detectors)
        await asyncio.to_thread(_recall, turn, panel, memory)
        opened = await asyncio.to_thread(_probe, turn, panel, decoder, limits)
        await asyncio.gather(_look(opened, panel, decoder, limits), _listen(opened, panel, decoder, limits))
        await asyncio.to_thread(_remember, opened, panel, memory)
        panel.complain()
        await read(turn, panel, memory, stored)
        panel.complain()
    return [file.result(detectors.model_versions) for file in files]


def _turns(files: list[File]) -> list[list[File]]:
    """Copies of a content after the first one of it, whose answers they are given."""
    first: dict[Content, File] = {}
    copies = [file for file in files if file.content and first.setdefault(file.content, file) is not file]
    others = [file for file in files if not file.content or first[file.content] is file]
    return [others, copies] if copies else [others]


def _recall(files: list[File], panel: FanOut, memory: Memory) -> None:
    """Bring back what was answered for the same content; for those who take words, what was read and heard in it."""
    sensing, reading = panel.taking("image") | panel.taking("sound"), panel.taking("text")
    contents = [(file, file.content) for file in files if file.content]
    asked: dict[Asking, None] = {}
    for file, content in contents:
        names = sensing if file.wanted & reading else sensing & file.wanted
        asked |= dict.fromkeys((content, panel.model_versions[name]) for name in names)
    facts = memory.facts({content for _, content in contents})
    found = memory.findings(asked)
    for file, content in contents:
        file.known = facts.get(content)
        for name in sorted(sensing):
            findings = found.get((content, panel.model_versions[name]))
            if name not in file.wanted:
                file.context += findings or []
            elif findings is not None:
                file.findings += findings
                file.reused.add(name)
            if name in file.wanted and memory.cache:
                memo.counted(name, findings is not None)
        file.missing = file.wanted - file.reused


def _probe(files: list[File], panel: FanOut, decoder: Decoder, limits: Decoding) -> list[File]:
    """Those to be decoded. Of the others all is known."""
    sensing = panel.taking("image") | panel.taking("sound")
    opened = []
    for file in files:
        if (known := file.known) is not None:
            file.item = replace(file.item, kind=known.kind)
            file.media = Media(known.kind, known.width, known.height, known.duration_s)
            file.frames, file.frames_propagated, file.thumbnail = known.frames, known.frames_propagated, known.thumbnail
        if file.source is None or (known is not None and not file.missing & sensing):
            continue
        try:
            kind, file.media = decoder.probe(file.source, limits)
            file.item = replace(file.item, kind=kind)  # the name may say another
            opened.append(file)
        except MediaError as error:
            file.fail(error.step, error.reason)
    return opened


async def _look(files: list[File], panel: FanOut, decoder: Decoder, limits: Decoding) -> None:
    """Stream the frames of all files, in chunks that do not care where one file ends, through the image detectors."""
    names = panel.taking("image")
    unseen = [file for file in files if file.known is None or file.missing & names]
    for file in unseen:
        file.frames = file.frames_propagated = 0
    last: dict[int, list[Finding]] = {}  # by file: what was found in the last frame that was looked at
    async for chunk in _chunks(_frames(unseen, decoder, limits), limits.chunk_frames):
        fresh = [(file, one.sample) for file, one in chunk if isinstance(one, Frame) and not one.same_as_before]
        answers = iter(await panel.ask_each(fresh, names))
        for file, one in chunk:
            if isinstance(one, MediaError):
                file.fail(one.step, one.reason)
                continue
            file.frames += 1
            file.frames_propagated += one.same_as_before
            if one.same_as_before:
                file.findings += _carried(last[id(file)], one.sample.time_s)
                continue
            if file.thumbnail is None and one.sample.pixels is not None:
                file.thumbnail = thumbnail(one.sample.pixels)
            before = len(file.findings)
            _note(file, one.sample, next(answers), panel)
            last[id(file)] = file.findings[before:]


def _frames(files: list[File], decoder: Decoder, limits: Decoding) -> Iterator[tuple[File, Frame | MediaError]]:
    for file in files:
        if file.item.kind == "audio" or file.source is None or file.item.kind is None:
            continue
        try:
            for frame in decoder.frames(file.source, file.item.kind, limits, file.segment):
                yield file, frame
        except MediaError as error:
            yield file, error


def _carried(findings: list[Finding], time_s: float | None) -> list[Finding]:
    """The findings of a frame, for one that looks the same. Their vectors would only be found twice."""
    return [
        replace(finding, propagated=True, detection=replace(finding.detection, time_s=time_s, vectors=()))
        for finding in findings
    ]


def _note(file: File, sample: Sample, told: dict[str, DetectorResponse], panel: FanOut) -> None:
    """Write down what each detector answered for the sample."""
    for name, asked in sorted(told.items()):
        file.charge(name, asked.seconds, asked.gpu_seconds)
        (answer,) = asked.answers
        if isinstance(answer, Failure):
            file.fail(answer.step, answer.reason)
        else:
            model = panel.model_versions[name].model
            file.findings += [Finding(name, model, found.at(sample.time_s)) for found in answer]


async def _listen(files: list[File], panel: FanOut, decoder: Decoder, limits: Decoding) -> None:
    names = panel.taking("sound")
    for file in files:
        if not file.missing & names or file.source is None or file.media is None or not file.media.has_sound:
            continue
        try:
            async for (piece,) in _chunks(decoder.sound(file.source, limits, file.segment), 1):
                (told,) = await panel.ask_each([(file, piece)], names)
                _note(file, piece, told, panel)
        except MediaError as error:
            file.fail(error.step, error.reason)


def _remember(files: list[File], panel: FanOut, memory: Memory) -> None:
    """Keep the answers that are whole, as the detectors gave them: what is found in words is kept by the words."""
    sensing = panel.taking("image") | panel.taking("sound")
    facts: dict[Content, Facts] = {}
    answers: dict[Asking, list[Finding]] = {}
    for file in files:
        failed, media = file.failed(), file.media
        if file.content is None or media is None or failed & {"fetch", "decode"}:
            continue
        facts[file.content] = Facts(
            media.kind, media.width, media.height, media.duration_s, file.frames, file.frames_propagated, file.thumbnail
        )
        for name in (file.missing & sensing) - failed - panel.away:
            own = [finding for finding in file.findings if finding.detector == name]
            answers[file.content, panel.model_versions[name]] = own
    memory.keep(facts, answers)


async def _chunks(source: Iterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of so many, made in a thread; the next is in the making while the caller works on this one."""

    def take() -> list[T]:
        return list(islice(source, size))

    coming: asyncio.Task[Any] = asyncio.create_task(asyncio.to_thread(take))
    while chunk := await coming:
        coming = asyncio.create_task(asyncio.to_thread(take))
        yield chunk
