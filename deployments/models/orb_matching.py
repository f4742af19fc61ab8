"""Local features: where in a picture reference pictures are seen again, turned, scaled and a little tilted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]  # (height, width)
Points = npt.NDArray[np.float32]  # (n, 2) in pixels
Corners = npt.NDArray[np.float32]  # (n, 4): x, y and diameter in pixels, direction in degrees
Descriptors = npt.NDArray[np.uint8]  # (n, 32)
Numbers = npt.NDArray[np.int32]

SCALES = {1.0: 4000, 1.6: 5000}  # of the picture, and features at most: enlarged it shows small things, else soft ones
RATIO = 0.78  # a match is nearer than this times the reference feature's second nearest (Lowe 2004, 7.1)
AGREES_PX = 4.0  # from where the place says that a match should lie
LEAST_INLIERS = 7
LEAST_SHARE = 0.25  # of the matches that agree on a place
SURE_INLIERS = 20  # agree by no accident, however many others there are: those of further copies
LEAST_SCALE, MOST_SCALE = 0.06, 8.0  # of the reference, as it appears
MOST_PLACES = 20  # of a reference in a picture


@dataclass(frozen=True, slots=True)
class Features:
    """Corners and their ORB descriptors (Rublee et al. 2011)."""

    corners: Corners
    descriptors: Descriptors
    size: tuple[int, int]  # width, height in pixels of what they were taken from


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture shows a reference."""

    reference: int  # its place among the matcher's
    corners: Points  # (4, 2): its outline's, clockwise from its own upper left; they may lie outside the picture
    inliers: int  # matches that agree, each at a point of its own
    matches: int  # of the reference with the picture, those of other places left out
    scale: float  # of the picture, at which most of them were found


def described(variants: Iterable[Grey], pad_px: int, most: int = 250, same: int = 16) -> Features:
    """A reference's features: of variants of one size, at full and at half size, each feature once.

    A variant has pad_px around what is looked for. Features within `same` bits of 256 are one.
    """
    pad = np.array([pad_px, pad_px, 0, 0], np.float32)
    corners, descriptors = np.empty((0, 4), np.float32), np.empty((0, 32), np.uint8)
    size = (0, 0)
    for variant in variants:
        size = (variant.shape[1] - 2 * pad_px, variant.shape[0] - 2 * pad_px)
        for scale in (1.0, 0.5):
            at, found = _orb(variant, scale, most, threshold=5, edge_px=15)
            if len(found) and len(descriptors):
                apart, _ = _nearest(found, descriptors, 1)
                at, found = at[apart[:, 0] > same], found[apart[:, 0] > same]
            corners = np.vstack([corners, at - pad])
            descriptors = np.vstack([descriptors, found])
    return Features(corners, descriptors, size)


class Matcher:
    """Finds references in pictures: features that match, then places that enough of the matches agree on.

    Up to `brute_most` references each is compared with the picture. Of more, only those that an index of hashes says
    are likeliest, as many as that: the time hardly grows with the gallery.
    """

    def __init__(self, references: Sequence[Features], brute_most: int = 16) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._references = [one for one in references if len(one.descriptors) >= LEAST_INLIERS]
        self._of = [n for n, one in enumerate(references) if len(one.descriptors) >= LEAST_INLIERS]
        self._most = brute_most
        self._index = _Index(self._references) if len(self._references) > brute_most else None

    def places(self, grey: Grey) -> list[Place]:
        """Every place that shows a reference, by reference."""
        if not self._references:
            return []
        seen = {scale: _orb(grey, scale, most) for scale, most in SCALES.items()}
        seen = {scale: (corners, found) for scale, (corners, found) in seen.items() if len(found) >= 2}
        wanted: Iterable[int] = range(len(self._references))
        if self._index is not None and seen:
            corners, descriptors = (np.vstack(parts) for parts in zip(*seen.values(), strict=True))
            wanted = self._index.likeliest(corners, descriptors, self._most)
        return [place for n in wanted for place in _places(self._of[n], self._references[n], seen)]


class _Index:
    """Locality-sensitive hashes (Lv et al. 2007, as FLANN has them) of the features of all references.

    Each feature of a picture votes for the reference of its nearest neighbour, the nearer the more; only votes for one
    and the same turn and scale add up (weak geometric consistency: Jegou, Douze, Schmid 2008, 4).
    """

    hashes: ClassVar[Mapping[str, int]] = {"algorithm": 6, "table_number": 8, "key_size": 16, "multi_probe_level": 0}
    hamming = 9  # FLANN's name for that distance
    near = 8.0  # bits: by so much more, a neighbour counts e times less
    least = 0.12  # measured at 60 references: what was found had 0.14 and more; of the others 7 in a picture
    turns, scales = 18, 10  # bins of 20 degrees and half an octave

    def __init__(self, references: Sequence[Features]) -> None:
        import cv2

        self._of = np.repeat(np.arange(len(references)), [len(one.descriptors) for one in references])
        self._corners = np.vstack([one.corners for one in references])
        self._descriptors = np.vstack([one.descriptors for one in references])  # FLANN points to them, no more
        self._votes = (len(references), self.turns, self.scales)
        cv2.setRNGSeed(0)  # which bits are hashed
        self._flann = cv2.flann.Index(self._descriptors, dict(self.hashes), self.hamming)

    def likeliest(self, corners: Corners, descriptors: Descriptors, most: int) -> list[int]:
        """The references that the picture's features are nearest to, in their own order."""
        found, apart = self._flann.knnSearch(descriptors, 1, params={})
        known = found[:, 0] >= 0
        there, here = self._corners[found[known, 0]], corners[known]
        turn = ((here[:, 3] - there[:, 3]) % 360 / 360 * self.turns).astype(int) % self.turns
        scale = np.log2(here[:, 2] / there[:, 2]).round(1) * 2 + self.scales / 2
        votes = np.zeros(self._votes)
        bins = (self._of[found[known, 0]], turn, scale.astype(int).clip(0, self.scales - 1))
        np.add.at(votes, bins, np.exp(-apart[known, 0] / self.near))
        votes += np.roll(votes, 1, axis=1)  # bins next to each other count as one
        best = (votes[:, :, 1:] + votes[:, :, :-1]).reshape(len(votes), -1).max(axis=1)
        order = np.argsort(-best, kind="stable")[:most]
        return sorted(int(n) for n in order if best[n] >= self.least)


def _places(n: int, reference: Features, seen: Mapping[float, tuple[Corners, Descriptors]]) -> list[Place]:
    there, here, scales = [np.empty((0, 2), np.float32)], [np.empty((0, 2), np.float32)], [np.empty(0)]
    for scale, (corners, descriptors) in seen.items():
        apart, nearest = _nearest(reference.descriptors, descriptors, 2)
        good = apart[:, 0] < RATIO * apart[:, 1]
        there.append(reference.corners[good, :2])
        here.append(corners[nearest[good, 0], :2])
        scales.append(np.full(int(good.sum()), scale))
    source, target, at_scale = np.vstack(there), np.vstack(here), np.concatenate(scales)
    places: list[Place] = []
    while len(places) < MOST_PLACES and (found := _agreed(n, reference.size, source, target, at_scale)):
        place, spent = found
        places.append(place)
        source, target, at_scale = source[~spent], target[~spent], at_scale[~spent]
    return places


def _agreed(
    n: int, size: tuple[int, int], source: Points, target: Points, at_scale: npt.NDArray[np.float64]
) -> tuple[Place, npt.NDArray[np.bool_]] | None:
    """The place that most matches agree on, and which of them are spent on it: those, and all others within it."""
    import cv2

    if len(source) < LEAST_INLIERS:
        return None
    moved, agrees = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=AGREES_PX)
    if moved is None or not LEAST_SCALE < np.hypot(moved[0, 0], moved[1, 0]) < MOST_SCALE:
        return None
    agreeing = agrees[:, 0] == 1
    inliers = len(np.unique(target[agreeing].round(), axis=0))
    if inliers < LEAST_INLIERS or (agreeing.mean() < LEAST_SHARE and inliers < SURE_INLIERS):
        return None
    outline = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float64)
    corners = (outline @ moved[:, :2].T + moved[:, 2]).astype(np.float32)
    inside = [cv2.pointPolygonTest(corners, (float(x), float(y)), False) >= 0 for x, y in target]
    mostly = max(SCALES, key=lambda scale: int((at_scale[agreeing] == scale).sum()))
    return Place(n, corners, inliers, len(source), mostly), agreeing | np.array(inside)


def _nearest(queries: Descriptors, among: Descriptors, most: int) -> tuple[Numbers, Numbers]:
    """The Hamming distances and the places of the nearest, (queries, most) each."""
    import cv2

    apart, places = cv2.batchDistance(queries, among, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=most)
    return np.asarray(apart, np.int32), np.asarray(places, np.int32)


def _orb(grey: Grey, scale: float, most: int, threshold: int = 7, edge_px: int = 31) -> tuple[Corners, Descriptors]:
    """The features of the picture at that scale, in pixels of the picture as it is."""
    import cv2

    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    seen = grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=how)
    points, descriptors = cv2.ORB.create(most, fastThreshold=threshold, edgeThreshold=edge_px).detectAndCompute(
        seen, None
    )
    if descriptors is None:
        return np.empty((0, 4), np.float32), np.empty((0, 32), np.uint8)
    found = [(point.pt[0] / scale, point.pt[1] / scale, point.size / scale, point.angle) for point in points]
    return np.array(found, np.float32), np.asarray(descriptors, np.uint8)
