"""Which frames of a video or animation are analysed, and which of these look like the one before."""

import io
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Box, Sample
from cluster.settings import Decoding
from pipelines.media.containers import ROUNDING_S
from pipelines.media.films.comparing import LEAST, Grey, alike, changed, count_of, edges, has_only_moved
from pipelines.media.images import shrunk_size
from pipelines.media.recordings import GREY_PX, RawFrame
from pipelines.media.stills import WHOLE

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_PX = 320
SHOT_THRESHOLD = 15.0  # measured on 4 films: cuts 17 to 37, people walking and talking 0 to 12
SHOT_S = 0.25  # shots that follow each other faster are one: a strobe must not make every frame a shot
CELLS = 96  # along the longest side; frames are compared cell by cell, see Decoding.same_below
SHARE = 8  # an eighth of all that changes: measured on 5 films, of people who walk 5 % at most, of captions 50 to 90 %
STILL_S = 0.15  # what has not moved for so long stands still: a caption, not a person who walks
STANDS_S = 0.3  # a frame that is shown for so long stands still by itself
BETWEEN = 2  # frames that are taken between two ticks at most because what they show comes and goes between them


@dataclass(frozen=True, slots=True)
class Frame:
    """A sampled frame, and whether it looks like the last one before it that was marked as different."""

    sample: Sample
    same_as_before: bool
    thumbnail: bytes | None = None  # JPEG; of the first frame, where it was asked for
    part: Box = WHOLE  # of the picture in the file that it shows, in fractions
    is_tile: bool = False  # it repeats a part of the frame before it in more detail, and counts as no frame of the file
    note: str | None = None  # where in the file it is found, such as "page 3"; None: nothing need be said
    is_caption: bool = False  # it is no frame of the file but writing over one: only what wants detail looks at it


def sampled(
    raw_frames: Iterable[RawFrame],
    decoding: Decoding,
    with_thumbnail: bool,
    begin_s: float = 0.0,
    end_s: float | None = None,
) -> Iterator[Frame]:
    """The frames from begin_s up to end_s that are to be analysed. Those around only determine which ones these are."""
    cv2.setNumThreads(1)  # for pictures as small as those that are compared here, threads cost more than they save
    reference: npt.NDArray[np.float32] | None = None  # cells of the last frame that differed
    for raw in _chosen(raw_frames, decoding, end_s is None):
        if raw.time_s < begin_s - ROUNDING_S or (end_s is not None and raw.time_s >= end_s - ROUNDING_S):
            continue
        pixels = raw.pixels(decoding.max_side_px)
        cells = _cells(pixels)
        same = _similar(reference, cells, decoding.same_below)
        if not same:  # compared with the last that differed, not with its neighbour, so that a slow drift is noticed
            reference = cells
        jpeg = jpeg_of(pixels) if with_thumbnail else None
        yield Frame(Sample(pixels=pixels, time_s=raw.time_s), same, jpeg)
        with_thumbnail = False


def thumbnail(image: "Image.Image") -> bytes:
    """A JPEG of an RGB image, its longest side THUMBNAIL_PX at most."""
    from PIL import Image

    size = shrunk_size(image.size, THUMBNAIL_PX)
    # means of whole pixels as far as they go, then Lanczos: a third of the time, measured as sharp
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)
    small.info.clear()  # Pillow would copy the comment of the file
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def jpeg_of(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The thumbnail of (height, width, 3) RGB pixels."""
    from PIL import Image

    return thumbnail(Image.fromarray(pixels))


def _chosen(raw_frames: Iterable[RawFrame], decoding: Decoding, to_end: bool) -> Iterator[RawFrame]:
    """The frame shown at each tick, the first of every shot, the last, and what comes and goes between two ticks.

    An error of raw_frames is raised after the last of them.
    """
    choice, failure = _Choice(decoding.frames_per_s), None
    try:
        for raw in raw_frames:
            yield from choice.add(_view(raw, decoding.max_side_px))
    except MediaError as error:
        failure = error
    yield from choice.end(to_end)
    if failure:
        raise failure


@dataclass(slots=True, eq=False)
class _View:
    """A frame and its small pictures: grey, GREY_PX along the longest side at most; and in colour, half as large."""

    raw: RawFrame
    grey: Grey
    colour: npt.NDArray[np.uint8]
    jumped: Grey | None = None  # where it differs from the frame before
    jump: int = 0  # pixels that do
    mask: Grey | None = None  # pixels that differ from the last chosen frame, have edges and stand still
    count: int = 0  # of these pixels
    _edges: Grey | None = field(default=None, init=False)

    @property
    def time_s(self) -> float:
        return self.raw.time_s

    @property
    def edges(self) -> Grey:
        """Where neighbours in the grey picture differ; computed once."""
        if self._edges is None:
            self._edges = edges(self.grey)
        return self._edges


class _Choice:
    """Chooses frames one by one; it keeps those that it may still choose."""

    def __init__(self, frames_per_s: float) -> None:
        self._rate = frames_per_s
        self._tick = 0  # the next one, at _tick / _rate seconds
        self._latest: deque[_View] = deque(maxlen=10)  # the last one is the newest
        self._taken: _View | None = None
        self._candidate: _View | None = None  # is chosen if what it shows is gone before the next tick
        self._between = 0  # frames taken since the last tick without being shown at one, or the first of a shot
        self._shot_s, self._cut, self._cut_s = -SHOT_S, False, 0.0  # _cut: none of the shot from _cut_s on is chosen
        self._hsv: npt.NDArray[np.uint8] | None = None

    def add(self, view: _View) -> Iterator[RawFrame]:
        """The frames that are chosen now that the next one is known."""
        before = self._latest[-1] if self._latest else None
        hsv: Any = cv2.cvtColor(view.colour, cv2.COLOR_BGR2HSV)
        if before is None:
            self._shot_s, self._tick = view.time_s, math.floor(view.time_s * self._rate + ROUNDING_S) + 1
            yield from self._take(view)
        else:
            if view.time_s > self._tick / self._rate + ROUNDING_S:
                if before is not self._taken:
                    self._cut = False
                    yield from self._take(before)
                self._tick, self._between = math.ceil(view.time_s * self._rate - ROUNDING_S), 0
            if _is_cut(self._hsv, hsv):
                if self._cut and before is not self._taken and view.time_s - self._cut_s >= STILL_S - ROUNDING_S:
                    yield from self._take(before)  # the shot stood between two others
                self._cut, self._cut_s = True, view.time_s
            if self._cut and view.time_s - self._shot_s >= SHOT_S - ROUNDING_S:
                self._shot_s, self._cut = view.time_s, False
                yield from self._take(view)
            elif before.grey.shape == view.grey.shape:
                yield from self._compare(before, view)
        self._hsv = hsv
        self._latest.append(view)

    def end(self, to_end: bool) -> Iterator[RawFrame]:
        """The last frame, unless nothing in it differs from the last chosen one; `to_end`: it is the file's last."""
        last = self._latest[-1] if self._latest else None
        if last is None or last is self._taken or self._taken is None:
            return
        at_tick = last.time_s > self._tick / self._rate - ROUNDING_S
        if not to_end or at_tick or _differ(last, self._taken) or self._is_gone(self._candidate, last):
            yield from self._take(last)

    def _take(self, view: _View) -> Iterator[RawFrame]:
        candidate, taken, self._candidate, self._taken = self._candidate, self._taken, None, view
        is_past = candidate is not None and candidate is not view and self._is_gone(candidate, view)
        if candidate is not None and is_past and not self._has_only_moved(candidate, taken):
            yield candidate.raw
        yield view.raw

    def _compare(self, before: _View, view: _View) -> Iterator[RawFrame]:
        """Choose what was shown between two ticks only: for some time (the candidate), or for a moment."""
        assert self._taken is not None
        view.jumped = changed(view.grey, before.grey)
        view.jump = count_of(view.jumped)
        if self._between < BETWEEN and view.jump >= LEAST:
            if (candidate := self._candidate) is not None and self._is_gone(candidate, view):
                self._candidate = None
                if not self._has_only_moved(candidate, self._taken):
                    self._between, self._taken = self._between + 1, candidate
                    yield candidate.raw
            elif before is not self._taken and self._was_momentary(before, view):
                self._between += 1
                if self._candidate is not None:  # first, so that frames come in order
                    yield self._candidate.raw
                self._candidate, self._taken = None, before
                yield before.raw
        if view.time_s - before.time_s >= STANDS_S:
            self._propose(before, None)
        still = next((one for one in reversed(self._latest) if view.time_s - one.time_s >= STILL_S - ROUNDING_S), None)
        if still is not None and still.grey.shape == view.grey.shape:
            self._propose(view, still)

    def _propose(self, view: _View, still: _View | None) -> None:
        """Make a frame the candidate if more in it is new, has edges, and has been so since the frame `still`."""
        taken = self._taken
        if taken is None or view is taken or taken.grey.shape != view.grey.shape:
            return
        mask: Any = changed(view.grey, taken.grey)
        differing = count_of(mask)
        if differing < LEAST:
            return
        if still is not None:
            mask = cv2.bitwise_and(mask, alike(view.grey, still.grey))
        least = max(LEAST, differing // SHARE)
        if count_of(mask) < least:
            return
        mask = cv2.bitwise_and(mask, view.edges)
        count = count_of(mask)
        if count >= least and count > 1.2 * (self._candidate.count if self._candidate else 0):
            view.mask, view.count, self._candidate = mask, count, view

    def _is_gone(self, candidate: _View | None, view: _View) -> bool:
        """Whether a later frame does not show what the candidate, if there is one, does."""
        if candidate is None or candidate.mask is None or candidate.grey.shape != view.grey.shape:
            return candidate is not None
        gone = count_of(cv2.bitwise_and(candidate.mask, changed(candidate.grey, view.grey)))
        return gone >= max(LEAST, candidate.count // 2)

    def _has_only_moved(self, candidate: _View, taken: _View | None) -> bool:
        """Whether the candidate shows what the last chosen frame does, from a camera that has turned meanwhile."""
        if candidate.mask is None or taken is None or candidate.grey.shape != taken.grey.shape:
            return False
        return has_only_moved(candidate.grey, candidate.mask, taken.grey)

    def _was_momentary(self, before: _View, view: _View) -> bool:
        """Whether `before` shows something that the frames around it, up to STILL_S earlier, do not show."""
        assert self._taken is not None and view.jumped is not None
        comparable = self._taken.grey.shape == before.grey.shape
        new: Any = view.jumped  # at most: what `before` shows, and the frame after it and the last chosen one do not
        if comparable:
            new = cv2.bitwise_and(new, changed(before.grey, self._taken.grey))
        least = max(LEAST, before.jump // SHARE, view.jump // SHARE)
        if count_of(new) < least or count_of(new := cv2.bitwise_and(new, before.edges)) < least:
            return False
        later = before
        for earlier in list(self._latest)[-2::-1]:
            if view.time_s - earlier.time_s > 2 * STILL_S or earlier.grey.shape != view.grey.shape:
                return False
            if later.jump >= LEAST:
                mask = cv2.bitwise_and(new, alike(earlier.grey, view.grey))
                mask = cv2.bitwise_and(mask, changed(before.grey, earlier.grey))
                if count_of(mask) >= least:
                    return not (comparable and has_only_moved(before.grey, mask, self._taken.grey))
            later = earlier
        return False


def _view(raw: RawFrame, max_side_px: int) -> _View:
    """A frame with its small pictures. One that cannot be kept is decoded now, in the size of a sample."""
    if raw.small is not None:
        return _View(raw, *raw.small())
    pixels = raw.pixels(max_side_px)
    size = shrunk_size((pixels.shape[1], pixels.shape[0]), GREY_PX)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    half: Any = cv2.resize(small, (max(1, size[0] // 2), max(1, size[1] // 2)), interpolation=cv2.INTER_AREA)
    grey: Any = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return _View(RawFrame(raw.time_s, lambda _: pixels), grey, half)


def _is_cut(before: npt.NDArray[np.uint8] | None, hsv: npt.NDArray[np.uint8]) -> bool:
    """Whether hue, saturation and lightness change so much from one frame to the next that a shot begins."""
    if before is None or before.shape != hsv.shape:
        return before is not None
    return sum(cv2.mean(cv2.absdiff(before, hsv))) / 3 >= SHOT_THRESHOLD


def _differ(one: _View, other: _View) -> bool:
    return one.grey.shape != other.grey.shape or count_of(changed(one.grey, other.grey)) >= LEAST


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean grey of square cells, CELLS along the longest side: 13 px at 720p, less than the height of a text line."""
    height, width = pixels.shape[:2]
    scale = CELLS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _similar(reference: npt.NDArray[np.float32] | None, cells: npt.NDArray[np.float32], same_below: float) -> bool:
    """Whether no cell differs by same_below (0 to 255) or more from the reference, which may be none yet."""
    if reference is None or reference.shape != cells.shape:
        return False
    return bool(np.abs(reference - cells).max() < same_below)
