"""The text pass: runs text detectors over OCR and transcript text and adds their vectors and findings."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cluster.records import Answer, Detection, Failure, Finding, Sample
from pipelines.detect.fan_out import FanOut, File
from pipelines.detect.memo import Memo


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence of a transcript, or all lines that were read in a frame."""

    file: File
    n: int | None  # index of the file's finding that gets the vectors; None: text of an earlier scan, which has its own
    source: str  # the detector that recognised the text
    lines: list[Detection]

    @property
    def text(self) -> str:
        """The lines, joined by blanks."""
        return " ".join(line.text for line in self.lines if line.text)


async def run_text_pass(files: list[File], fan_out: FanOut, memo: Memo, stored: bool) -> None:
    """Run text detectors (restraint, clip) over the OCR and transcript text of all files.

    With `stored`, detectors that were not requested also run over new text, because search needs their vectors.
    """
    passages = [passage for file in files for passage in _passages(file)]
    await asyncio.gather(
        *(
            _ask_text_detector(
                name,
                [passage for passage in passages if _is_for(passage, name, stored)],
                fan_out,
                memo,
            )
            for name in sorted(fan_out.taking("text"))
        )
    )


def _is_for(passage: Passage, name: str, stored: bool) -> bool:
    """Whether a text detector analyses a passage."""
    return name in passage.file.wanted or (stored and passage.n is not None)


def _passages(file: File) -> Iterator[Passage]:
    """The passages of a file: of its own findings, and of text that earlier scans found in the same content."""
    for findings, own in ((file.findings, True), (file.context, False)):
        frames: dict[tuple[str, float | None, str | None], Passage] = {}
        for n, finding in enumerate(findings):
            detection = finding.detection
            if not detection.text or finding.propagated:
                continue
            passage = Passage(file, n if own else None, finding.detector, [detection])
            if detection.span is None:
                # the lines of a frame are searched as a whole: the vector is stored with the first of them
                frame = (finding.detector, detection.time_s, detection.evidence)  # which names the page
                first = frames.setdefault(frame, passage)
                if first is not passage:
                    first.lines.append(detection)
                continue
            yield passage
        yield from frames.values()


async def _ask_text_detector(name: str, passages: list[Passage], fan_out: FanOut, memo: Memo) -> None:
    """Send the distinct new texts of passages to one text detector, and add all its answers to their files."""
    if not passages:
        return
    version = fan_out.model_versions[name]
    texts = dict.fromkeys(passage.text for passage in passages)
    known = await asyncio.to_thread(memo.passages, [(text, version) for text in texts])
    answers: dict[str, Answer] = {text: detections for (text, _), detections in known.items()}
    new = [text for text in texts if text not in answers]
    response = (await fan_out.ask([name], [Sample(text=text) for text in new])).get(name)
    uncharged = set(new) if response else set()
    if response:
        answers |= zip(new, response.answers, strict=True)
        complete = {(text, version): answer for text in new if not isinstance(answer := answers[text], Failure)}
        await asyncio.to_thread(memo.keep_passages, complete)
    for passage in passages:
        if response and passage.text in uncharged:
            uncharged.remove(passage.text)
            passage.file.charge(name, response.seconds / len(new), response.gpu_seconds / len(new))
        elif (passage.text, version) in known:
            passage.file.reused.add(name)
        if passage.text in answers:
            _add_answer(passage, name, version.model, answers[passage.text])


def _add_answer(passage: Passage, name: str, model: str, answer: Answer) -> None:
    """Add a text detector's answer to the passage's file: vectors to the text's finding, the rest as new findings."""
    file, wanted = passage.file, name in passage.file.wanted
    if isinstance(answer, Failure):
        # missing vectors are computed only when the detector that found the text runs again
        if wanted:
            file.fail(answer.step, answer.reason)
        else:
            file.fail(passage.source, f"{name} on its text: {answer.reason}")
        return
    vectors = tuple(vector for detection in answer for vector in detection.vectors)
    if vectors and passage.n is not None:
        finding = file.findings[passage.n]
        detection = replace(finding.detection, vectors=finding.detection.vectors + vectors)
        file.findings[passage.n] = replace(finding, detection=detection)
    if wanted:
        own = (detection for detection in answer if not detection.vectors)
        file.findings += [Finding(name, model, _placed(passage.lines, detection)) for detection in own]


def _placed(lines: Sequence[Detection], detection: Detection) -> Detection:
    """A detection in a passage, with the time and box of the line that holds its words."""
    words = (detection.text or "").lower()
    line = next((line for line in lines if words in (line.text or "").lower()), lines[0])
    return replace(detection, time_s=line.time_s, span=line.span, box=line.box)
