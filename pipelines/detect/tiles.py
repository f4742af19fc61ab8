"""One answer for a large picture: what was found in the whole of it, and in tiles of it in full resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cluster.records import Box, Detection, Finding
from deployments.models.boxes import area, overlap, within
from deployments.models.reading.reading_order import Line, in_lines
from pipelines.media.decoding import Frame
from pipelines.media.stills import WHOLE, placed

LINE = "text"  # the label of a line of OCR
SAME_PLACE = 0.4  # intersection over union of one thing that was found twice
CONTAINED = 0.7  # share of a detection in another one of its label: a part of the same thing
COVERED = 0.6  # share of a line under lines that were read better
WEAK = 0.8  # lines of the whole picture with a lower score may be too small in it to be read,
WEAK_COVERED = 0.05  # and give way to whatever was read in their place
_BORDER = 0.006  # of a tile's side: what ends nearer to its border may go on behind it


@dataclass(slots=True)
class Picture:
    """The findings in a whole picture and in its tiles, all boxes in fractions of the picture."""

    aspect: float  # width over height
    whole: list[Finding]
    tiles: list[tuple[Box, Finding]] = field(default_factory=list)  # each with the part that its tile shows

    def merged(self) -> list[Finding]:
        """The findings without those made twice: of equal ones the better, and the complete one before a cut one.

        A line that a tile's border cuts loses to the complete line of another tile, or of the whole picture if that was
        read well; a part of a face or logo loses to the face or logo. Lines are in reading order again.
        """
        names = dict.fromkeys(finding.detector for finding in [*self.whole, *(finding for _, finding in self.tiles)])
        return [finding for name in names for finding in self._of(name)]

    def _of(self, name: str) -> list[Finding]:
        candidates = [
            _Candidate(finding, finding.detection.box, _is_cut(finding.detection.box, tile), tile is not None)
            for tile, finding in [*((None, finding) for finding in self.whole), *self.tiles]
            if finding.detector == name and finding.detection.box is not None
        ]
        without_place = [f for f in self.whole if f.detector == name and f.detection.box is None]
        if not any(candidate.of_tile for candidate in candidates):
            return [finding for finding in self.whole if finding.detector == name]
        lines = [candidate for candidate in candidates if candidate.finding.detection.label == LINE]
        others = [candidate for candidate in candidates if candidate.finding.detection.label != LINE]
        return [*without_place, *_things(others), *_lines(lines, self.aspect)]


@dataclass(frozen=True, slots=True)
class _Candidate:
    finding: Finding
    box: Box
    is_cut: bool  # by the border of its tile
    of_tile: bool


def in_picture(detection: Detection, frame: Frame) -> Detection:
    """A detection in a frame as one in the file: its box in fractions of the whole picture, and where that is found."""
    if frame.part != WHOLE and detection.box is not None:
        detection = replace(detection, box=placed(detection.box, frame.part))
    if frame.note:
        detection = replace(detection, evidence="; ".join(filter(None, [detection.evidence, frame.note])))
    return detection.of(frame.sample)


def picture(frame: Frame, findings: list[Finding]) -> Picture:
    """The picture of a frame that is no tile, without tiles so far."""
    assert frame.sample.pixels is not None
    height, width = frame.sample.pixels.shape[:2]
    left, top, right, bottom = frame.part
    return Picture(width * (bottom - top) / (height * (right - left)), findings)


def _is_cut(box: Box | None, tile: Box | None) -> bool:
    """Whether a box ends at a border of its tile that is not also one of the picture."""
    if box is None or tile is None:
        return False
    near = _BORDER * (tile[2] - tile[0]), _BORDER * (tile[3] - tile[1])
    return any(
        abs(edge - border) < near[n % 2] and min(border, 1 - border) > 1e-6
        for n, (edge, border) in enumerate(zip(box, tile, strict=True))
    )


def _things(candidates: Sequence[_Candidate]) -> list[Finding]:
    """Faces, logos and the like, in the order in which they were found."""

    def rank(candidate: _Candidate) -> tuple[bool, bool, float]:
        detection = candidate.finding.detection
        return candidate.is_cut, not detection.vectors, -detection.score

    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=rank):
        rivals = [other for other in kept if _is_same(candidate, other)]
        if any(candidate.is_cut or not _is_whole_of(candidate, rival) for rival in rivals):
            continue
        kept = [other for other in kept if other not in rivals] + [candidate]
    return [candidate.finding for candidate in candidates if any(candidate is one for one in kept)]


def _is_same(one: _Candidate, other: _Candidate) -> bool:
    first, second = one.finding.detection, other.finding.detection
    if (first.label, first.text) != (second.label, second.text):
        return False
    shared = max(within(one.box, other.box), within(other.box, one.box))
    return overlap(one.box, other.box) > SAME_PLACE or shared > CONTAINED


def _is_whole_of(candidate: _Candidate, part: _Candidate) -> bool:
    """Whether a detection is the much larger thing of which the other one is a part."""
    return overlap(candidate.box, part.box) <= SAME_PLACE and area(candidate.box) > area(part.box)


def _lines(candidates: Sequence[_Candidate], aspect: float) -> list[Finding]:
    """Lines in reading order."""

    def rank(candidate: _Candidate) -> tuple[int, float]:
        score = candidate.finding.detection.score
        if candidate.of_tile:
            return 2 if candidate.is_cut else 0, -score
        return 1 if score >= WEAK else 3, -score

    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=rank):
        covered = sum(within(candidate.box, other.box) for other in kept)
        if covered >= (WEAK_COVERED if rank(candidate)[0] == 3 else COVERED):
            continue
        text = _letters(candidate)
        kept = [other for other in kept if within(other.box, candidate.box) < COVERED or _letters(other) not in text]
        kept.append(candidate)
    if not kept:
        return []
    first = kept[0].finding
    read = [
        Line(detection.text, detection.score, candidate.box)
        for candidate in kept
        if (detection := candidate.finding.detection).text and detection.text.strip()
    ]
    return [
        replace(first, detection=replace(first.detection, text=line.text, score=min(1.0, line.score), box=line.box))
        for line in in_lines(read, aspect)
    ]


def _letters(candidate: _Candidate) -> str:
    return "".join(filter(str.isalnum, (candidate.finding.detection.text or "").casefold()))
