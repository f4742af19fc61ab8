"""Which frames of a film are chosen: by what is shown at each tick, and by what is shown between two ticks only."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.media.containers import ROUNDING_S
from pipelines.media.films.comparing import LEAST, Grey, alike, changed, count_of, edges, has_only_moved
from pipelines.media.films.raw_frames import RawFrame

SHOT_THRESHOLD = 15.0  # measured on 4 films: cuts 17 to 37, people walking and talking 0 to 12
SHOT_S = 0.25  # shots that follow each other faster are one: a strobe must not make every frame a shot
SHARE = 8  # an eighth of all that changes: measured on 5 films, of people who walk 5 % at most, of captions 50 to 90 %
STILL_S = 0.15  # what has not moved for so long stands still: a caption, not a person who walks
STANDS_S = 0.3  # a frame that is shown for so long stands still by itself
BETWEEN = 2  # frames that are taken between two ticks at most because what they show comes and goes between them


@dataclass(slots=True, eq=False)
class View:
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
        """When it is shown, in seconds from the beginning of the file."""
        return self.raw.time_s

    @property
    def edges(self) -> Grey:
        """Where neighbours in the grey picture differ; computed once."""
        if self._edges is None:
            self._edges = edges(self.grey)
        return self._edges


class Choice:
    """Chooses frames one by one; it keeps those that it may still choose."""

    def __init__(self, frames_per_s: float) -> None:
        self._rate = frames_per_s
        self._tick = 0  # the next one, at _tick / _rate seconds
        self._latest: deque[View] = deque(maxlen=10)  # the last one is the newest
        self._taken: View | None = None
        self._candidate: View | None = None  # is chosen if what it shows is gone before the next tick
        self._between = 0  # frames taken since the last tick without being shown at one, or the first of a shot
        self._shot_s, self._cut, self._cut_s = -SHOT_S, False, 0.0  # _cut: none of the shot from _cut_s on is chosen
        self._hsv: npt.NDArray[np.uint8] | None = None

    def add(self, view: View) -> Iterator[RawFrame]:
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

    def _take(self, view: View) -> Iterator[RawFrame]:
        candidate, taken, self._candidate, self._taken = self._candidate, self._taken, None, view
        is_past = candidate is not None and candidate is not view and self._is_gone(candidate, view)
        if candidate is not None and is_past and not self._has_only_moved(candidate, taken):
            yield candidate.raw
        yield view.raw

    def _compare(self, before: View, view: View) -> Iterator[RawFrame]:
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

    def _propose(self, view: View, still: View | None) -> None:
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

    def _is_gone(self, candidate: View | None, view: View) -> bool:
        """Whether a later frame does not show what the candidate, if there is one, does."""
        if candidate is None or candidate.mask is None or candidate.grey.shape != view.grey.shape:
            return candidate is not None
        gone = count_of(cv2.bitwise_and(candidate.mask, changed(candidate.grey, view.grey)))
        return gone >= max(LEAST, candidate.count // 2)

    def _has_only_moved(self, candidate: View, taken: View | None) -> bool:
        """Whether the candidate shows what the last chosen frame does, from a camera that has turned meanwhile."""
        if candidate.mask is None or taken is None or candidate.grey.shape != taken.grey.shape:
            return False
        return has_only_moved(candidate.grey, candidate.mask, taken.grey)

    def _was_momentary(self, before: View, view: View) -> bool:
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


def _is_cut(before: npt.NDArray[np.uint8] | None, hsv: npt.NDArray[np.uint8]) -> bool:
    """Whether hue, saturation and lightness change so much from one frame to the next that a shot begins."""
    if before is None or before.shape != hsv.shape:
        return before is not None
    return sum(cv2.mean(cv2.absdiff(before, hsv))) / 3 >= SHOT_THRESHOLD


def _differ(one: View, other: View) -> bool:
    return one.grey.shape != other.grey.shape or count_of(changed(one.grey, other.grey)) >= LEAST
