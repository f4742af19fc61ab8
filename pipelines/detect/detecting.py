"""The analysis of a batch of files: answers from the memo, decoding, the fan-out to detectors, the text pass."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from cluster.cache import Cache
from cluster.errors import MediaError
from cluster.metrics.declared import STAGE_SECONDS
from cluster.metrics.recording import timing
from cluster.records import Detection, Failure, Finding, Result
from cluster.settings import Decoding
from cluster.traces import spans
from deployments.detector import DetectorAway, DetectorResponse, wants_detail
from pipelines.detect import disguised
from pipelines.detect.fan_out import FILE_TEXT, Detectors, FanOut, File
from pipelines.detect.memo import Content, Facts, Memo, MemoKey, count_lookup
from pipelines.detect.text_pass import run_text_pass
from pipelines.detect.tiles import Picture, in_picture, picture
from pipelines.media.decoding import FileText, Frame, Media
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
    """One result for each file, in order. A failure, of decoding or of a detector, is part of the file's result.

    Cached answers are not computed again. DetectorAway when a detector stays unavailable, after the answers of the
    others were cached. `stored`: the results will be stored as rows, so they get a thumbnail, and their text needs
    vectors for search. The cache keeps thumbnails too: pass one only with `stored`.
    """

    async def analyze_members(members: list[File]) -> list[Result]:
        return await analyze(members, detectors, decoder, limits, cache, stored)

    memo = await asyncio.to_thread(lambda: Memo(cache, limits, detectors.states)) if cache else Memo(None, limits, {})
    for batch in _originals_then_copies(files) if cache else [files]:
        fan_out = FanOut(detectors)
        if cache:
            await timing(STAGE_SECONDS, asyncio.to_thread(_take_from_memo, batch, fan_out, memo), stage="memo")
        probed = asyncio.to_thread(_probe, batch, fan_out, decoder, limits)
        opened = await timing(STAGE_SECONDS, probed, stage="probe")
        await asyncio.gather(
            timing(STAGE_SECONDS, _analyze_frames(opened, fan_out, decoder, limits, stored), stage="frames"),
            timing(STAGE_SECONDS, _analyze_sound(opened, fan_out, decoder, limits), stage="sound"),
            timing(STAGE_SECONDS, _add_texts(opened, decoder, limits), stage="file_text"),
        )
        if cache:
            await asyncio.to_thread(_store_in_memo, opened, fan_out, memo)
        fan_out.raise_if_away()
        await timing(STAGE_SECONDS, run_text_pass(batch, fan_out, memo, stored), stage="text_pass")
        fan_out.raise_if_away()
        for file in batch:
            if file.is_disguised:
                await disguised.look_into(file, decoder, limits, analyze_members)
    return [file.result(detectors.model_versions) for file in files]


def _originals_then_copies(files: list[File]) -> list[list[File]]:
    """Two batches: the first file of each content, then its copies, which are answered from the memo."""
    first: dict[Content, File] = {}
    copies = [file for file in files if file.content and first.setdefault(file.content, file) is not file]
    others = [file for file in files if not file.content or first[file.content] is file]
    return [others, copies] if copies else [others]


def _take_from_memo(files: list[File], fan_out: FanOut, memo: Memo) -> None:
    """Add the memo's findings for each file's content; those of detectors that were not wanted become its context."""
    media_detectors, text_detectors = fan_out.taking("image") | fan_out.taking("sound"), fan_out.taking("text")
    contents = [(file, file.content) for file in files if file.content]
    keys: dict[MemoKey, None] = {}
    for file, content in contents:
        names = media_detectors if file.wanted & text_detectors else media_detectors & file.wanted
        keys |= dict.fromkeys((content, fan_out.model_versions[name]) for name in names)
        keys[content, FILE_TEXT] = None
    facts = memo.facts({content for _, content in contents})
    found = memo.findings(keys)
    for file, content in contents:
        file.known = facts.get(content)
        if (texts := found.get((content, FILE_TEXT))) is not None:
            file.findings, file.has_file_text = [*texts], True
        for name in sorted(media_detectors):
            findings = found.get((content, fan_out.model_versions[name]))
            if name not in file.wanted:
                file.context += findings or []
            elif findings is not None:
                file.findings += findings
                file.reused.add(name)
            if name in file.wanted:
                count_lookup(name, findings is not None)
        file.missing = file.wanted - file.reused


def _probe(files: list[File], fan_out: FanOut, decoder: Decoder, limits: Decoding) -> list[File]:
    """Read the headers of the files that must be decoded, and return these. The memo has the answers for the others."""
    media_detectors = fan_out.taking("image") | fan_out.taking("sound")
    opened = []
    for file in files:
        listed = file.item.kind
        if (known := file.known) is not None:
            file.item = replace(file.item, kind=known.kind)
            file.media = Media(known.kind, known.width, known.height, known.duration_s)
            file.frames, file.frames_propagated, file.thumbnail = known.frames, known.frames_propagated, known.thumbnail
        if file.source is not None and (known is None or file.missing & media_detectors):
            try:
                with spans.span("decode", what="header", asset=file.asset):
                    kind, file.media = decoder.probe(file.source, limits)
                file.item = replace(file.item, kind=kind)  # the file name may suggest another kind
                opened.append(file)
            except MediaError as error:
                file.fail(error.step, error.reason)
        file.is_disguised = file.item.kind == "container" != listed  # cutting opens those that the listing told
    return opened


async def _analyze_frames(files: list[File], fan_out: FanOut, decoder: Decoder, limits: Decoding, stored: bool) -> None:
    """Stream the frames of all files through the image detectors, in chunks that span files.

    Tiles of large pictures and captions go only to detectors that want detail.
    """
    names = fan_out.taking("image")
    detailed = set(filter(wants_detail, names))
    unseen = [file for file in files if file.known is None or file.missing & names]
    for file in unseen:
        file.frames = file.frames_propagated = 0
    last: dict[int, Picture] = {}  # id of a file -> its last analysed frame
    async for chunk in _chunks(_frames(unseen, decoder, limits, stored, detailed), limits.chunk_frames):
        fresh = [(file, item) for file, item in chunk if isinstance(item, Frame) and not item.same_as_before]
        whole = [(file, item.sample) for file, item in fresh if not (item.is_tile or item.is_caption)]
        tiles = [(file, item.sample) for file, item in fresh if item.is_tile or item.is_caption]
        answers = iter(await fan_out.ask_each(whole, names))
        of_tiles = iter(await fan_out.ask_each(tiles, detailed) if tiles else [])
        for file, item in chunk:
            if isinstance(item, MediaError):
                file.fail(item.step, item.reason)
                continue
            if item.is_caption:
                file.findings += _findings(file, next(of_tiles), fan_out, partial(in_picture, frame=item))
                continue
            if item.is_tile:
                found = _findings(file, next(of_tiles), fan_out, partial(in_picture, frame=item))
                last[id(file)].tiles += [(item.part, finding) for finding in found]
                continue
            file.frames += 1
            file.frames_propagated += item.same_as_before
            file.thumbnail = file.thumbnail or item.thumbnail
            if item.same_as_before:
                file.findings += _propagated(last[id(file)].whole, item.sample.time_s)
                continue
            _merge_tiles(file, last)
            found = _findings(file, next(answers), fan_out, partial(in_picture, frame=item))
            file.findings += found
            last[id(file)] = picture(item, found)
    for file in unseen:
        _merge_tiles(file, last)


def _merge_tiles(file: File, last: dict[int, Picture]) -> None:
    """Replace the findings of a file's last picture by those of it and its tiles, where it had any."""
    of_file = last.pop(id(file), None)
    if of_file is None or not of_file.tiles:
        return
    replaced = set(map(id, of_file.whole))
    file.findings = [finding for finding in file.findings if id(finding) not in replaced] + of_file.merged()


def _frames(
    files: list[File], decoder: Decoder, limits: Decoding, stored: bool, detailed: set[str]
) -> Iterator[tuple[File, Frame | MediaError]]:
    for file in files:
        if file.item.kind in ("container", None) or file.source is None:
            continue
        if file.item.kind == "audio" and not (file.media and file.media.has_cover):
            continue
        try:
            with_thumbnail = stored and file.thumbnail is None
            with_tiles = bool(file.missing & detailed)
            frames = decoder.frames(file.source, file.item.kind, limits, file.segment, with_thumbnail, with_tiles)
            for frame in spans.over("decode", frames, what="frames", asset=file.asset):
                yield file, frame
        except MediaError as error:
            yield file, error


def _propagated(findings: list[Finding], time_s: float | None) -> list[Finding]:
    """The findings of a frame for a later frame that looks the same, without vectors, which are stored once."""
    return [
        replace(finding, propagated=True, detection=replace(finding.detection, time_s=time_s, vectors=()))
        for finding in findings
    ]


def _findings(
    file: File,
    responses: dict[str, DetectorResponse],
    fan_out: FanOut,
    in_file: Callable[[Detection], Detection],
) -> list[Finding]:
    """What the detectors found in one sample of a file, by `in_file` placed in it. The file is charged and may fail."""
    found = []
    for name, response in sorted(responses.items()):
        file.charge(name, response.seconds, response.gpu_seconds)
        (answer,) = response.answers
        if isinstance(answer, Failure):
            file.fail(answer.step, answer.reason)
        else:
            model = fan_out.model_versions[name].model
            found += [Finding(name, model, in_file(detection)) for detection in answer]
    return found


async def _analyze_sound(files: list[File], fan_out: FanOut, decoder: Decoder, limits: Decoding) -> None:
    """Stream the sound of each file through the sound detectors, piece by piece."""
    names = fan_out.taking("sound")
    for file in files:
        if not file.missing & names or file.source is None or file.media is None or not file.media.has_sound:
            continue
        try:
            pieces = decoder.sound(file.source, limits, file.segment)
            async for (piece,) in _chunks(spans.over("decode", pieces, what="sound", asset=file.asset), 1):
                (responses,) = await fan_out.ask_each([(file, piece)], names)
                file.findings += _findings(file, responses, fan_out, partial(Detection.of, sample=piece))
        except MediaError as error:
            file.fail(error.step, error.reason)


async def _add_texts(files: list[File], decoder: Decoder, limits: Decoding) -> None:
    """Add the text that each file itself contains, whichever detectors are wanted: it costs little."""
    for file in files:
        if file.has_file_text or file.media is None or not file.media.has_text:
            continue
        file.has_file_text = True
        texts, error = await asyncio.to_thread(_texts, file, decoder, limits)
        for text in texts:
            origin = text.origin if text.page is None else f"{text.origin}, page {text.page}"
            detection = Detection("text", 1.0, span=text.span, text=text.text, evidence=origin)
            file.findings.append(Finding(FILE_TEXT.detector, FILE_TEXT.model, detection))
        if error is not None:
            file.fail(error.step, error.reason)


def _texts(file: File, decoder: Decoder, limits: Decoding) -> tuple[list[FileText], MediaError | None]:
    """The texts of a file, and the error that ended them, if any."""
    texts: list[FileText] = []
    try:
        if file.source is not None and file.media is not None:
            passages = decoder.texts(file.source, file.media.kind, limits, file.segment)
            texts.extend(spans.over("decode", passages, what="text", asset=file.asset))
    except MediaError as error:
        return texts, error
    return texts, None


def _store_in_memo(files: list[File], fan_out: FanOut, memo: Memo) -> None:
    """Store the complete answers as the detectors gave them; findings of the text pass are stored by their text."""
    media_detectors = fan_out.taking("image") | fan_out.taking("sound")
    facts: dict[Content, Facts] = {}
    answers: dict[MemoKey, list[Finding]] = {}
    for file in files:
        failed, media = file.failed(), file.media
        if file.content is None or media is None or failed & {"fetch", "decode"}:
            continue
        facts[file.content] = Facts(
            media.kind, media.width, media.height, media.duration_s, file.frames, file.frames_propagated, file.thumbnail
        )
        for name in (file.missing & media_detectors) - failed - fan_out.away:
            own = [finding for finding in file.findings if finding.detector == name]
            answers[file.content, fan_out.model_versions[name]] = own
        if file.has_file_text:
            own = [finding for finding in file.findings if finding.detector == FILE_TEXT.detector]
            answers[file.content, FILE_TEXT] = own
    memo.keep(facts, answers)


async def _chunks(source: Iterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of `size` items, taken in a thread; the next one is prepared while the caller works on the current one."""

    def take() -> list[T]:
        return list(islice(source, size))

    next_chunk: asyncio.Task[Any] = asyncio.create_task(asyncio.to_thread(take))
    while chunk := await next_chunk:
        if len(chunk) < size:  # the last one
            yield chunk
            return
        next_chunk = asyncio.create_task(asyncio.to_thread(take))
        yield chunk
