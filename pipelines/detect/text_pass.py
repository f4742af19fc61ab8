"""What was read and said in files, handed to those who take words: it gets their vectors; what they find is new."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cluster.records import Answer, Detection, Failure, Finding, Sample
from pipelines.detect.fan_out import FanOut, File
from pipelines.detect.memo import Memory


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence that was said, or all lines that were read in a frame."""

    file: File
    n: int | None  # the finding of the file's that gets the vectors; None: it is only recalled, for its words
    by: str  # the detector that read or heard it
    lines: list[Detection]

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines if line.text)


async def read(files: list[File], panel: FanOut, memory: Memory, stored: bool) -> None:
    """Hand the passages of all files to those who take words. `stored`: also to those who were not wanted.

    A passage that is stored is searched for by its vectors, whoever was wanted.
    """
    passages = [passage for file in files for passage in _passages(file)]
    await asyncio.gather(
        *(
            _take(
                name,
                [one for one in passages if name in one.file.wanted or (stored and one.n is not None)],
                panel,
                memory,
            )
            for name in sorted(panel.taking("text"))
        )
    )


def _passages(file: File) -> Iterator[Passage]:
    for findings, own in ((file.findings, True), (file.context, False)):
        frames: dict[tuple[str, float | None], Passage] = {}
        for n, finding in enumerate(findings):
            found = finding.detection
            if not found.text or finding.propagated:
                continue
            passage = Passage(file, n if own else None, finding.detector, [found])
            if found.span is None:
                # what is read in one frame is searched as a whole: its vector lies with its first line
                first = frames.setdefault((finding.detector, found.time_s), passage)
                if first is not passage:
                    first.lines.append(found)
                continue
            yield passage
        yield from frames.values()


async def _take(name: str, passages: list[Passage], panel: FanOut, memory: Memory) -> None:
    by = panel.model_versions[name]
    texts = dict.fromkeys(passage.text for passage in passages)
    known = await asyncio.to_thread(memory.passages, [(text, by) for text in texts])
    answers: dict[str, Answer] = {text: found for (text, _), found in known.items()}
    new = [text for text in texts if text not in answers]
    asked = (await panel.ask([name], [Sample(text=text) for text in new])).get(name)
    unpaid = set(new) if asked else set()
    if asked:
        answers |= zip(new, asked.answers, strict=True)
        whole = {(text, by): found for text in new if not isinstance(found := answers[text], Failure)}
        await asyncio.to_thread(memory.keep_passages, whole)
    for passage in passages:
        if asked and passage.text in unpaid:
            unpaid.remove(passage.text)
            passage.file.charge(name, asked.seconds / len(new), asked.gpu_seconds / len(new))
        elif (passage.text, by) in known:
            passage.file.reused.add(name)
        if passage.text in answers:
            _note(passage, name, by.model, answers[passage.text])


def _note(passage: Passage, name: str, model: str, answer: Answer) -> None:
    file, wanted = passage.file, name in passage.file.wanted
    if isinstance(answer, Failure):
        # nobody will ask again for vectors that are missing, unless the one who read the words is asked again
        file.fail(
            answer.step if wanted else passage.by, answer.reason if wanted else f"{name} on its words: {answer.reason}"
        )
        return
    vectors = tuple(vector for detection in answer for vector in detection.vectors)
    if vectors and passage.n is not None:
        finding = file.findings[passage.n]
        detection = replace(finding.detection, vectors=finding.detection.vectors + vectors)
        file.findings[passage.n] = replace(finding, detection=detection)
    if wanted:
        own = (found for found in answer if not found.vectors)
        file.findings += [Finding(name, model, _placed(passage.lines, found)) for found in own]


def _placed(lines: Sequence[Detection], found: Detection) -> Detection:
    """Something found in a passage, where and when the passage was seen or heard."""
    words = (found.text or "").lower()
    line = next((one for one in lines if words in (one.text or "").lower()), lines[0])
    return replace(found, time_s=line.time_s, span=line.span, box=line.box)
