"""ORB features with RANSAC: places in a picture that show a reference picture, rotated, scaled, slightly tilted."""

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

SCALES = {1.0: 4000, 1.6: 5000}  # scale of the picture -> maximum of features; enlarging finds small logos
RATIO = 0.78  # ratio test: distance of the nearest over that of the second nearest (Lowe 2004, section 7.1)
AGREES_PX = 4.0  # reprojection error of an inlier, maximum
LEAST_INLIERS = 7
LEAST_SHARE = 0.25  # of inliers among the matches
SURE_INLIERS = 20  # enough whatever their share: the other matches may belong to further copies
LEAST_SCALE, MOST_SCALE = 0.06, 8.0  # of the reference in the picture
MOST_PLACES = 20  # of a reference in a picture


@dataclass(frozen=True, slots=True)
class Features:
    """Key points of a picture and their ORB descriptors (Rublee et al. 2011)."""

    corners: Corners
    descriptors: Descriptors
    size: tuple[int, int]  # width, height of the picture in pixels


@dataclass(frozen=True, slots=True)
class Place:
    """A place at which a picture shows a reference."""

    reference: int  # index among the matcher's references
    corners: Points  # (4, 2): of its outline, clockwise from its upper left; they may exceed the picture
    inliers: int  # at distinct points
    matches: int  # of the reference with the picture, without those of other places
    scale: float  # of the picture, at which most inliers were found


def described(variants: Iterable[Grey], pad_px: int, most: int = 250, same: int = 16) -> Features:
    """The features of a reference: of all its variants, which have one size, at full and at half scale.

    A variant has a margin of pad_px. Of features whose descriptors differ by `same` of 256 bits at most, one is kept.
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
    """Finds references in pictures: matches of features, then similarity transforms with enough inliers (RANSAC).

    Up to `brute_most` references are all compared with the picture. Of more, an index of hashes selects that many, so
    that the time hardly grows with the gallery.
    """

    def __init__(self, references: Sequence[Features], brute_most: int = 16) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._references = [one for one in references if len(one.descriptors) >= LEAST_INLIERS]
        self._of = [n for n, one in enumerate(references) if len(one.descriptors) >= LEAST_INLIERS]
        self._most = brute_most
        self._index = _Index(self._references) if len(self._references) > brute_most else None

    def places(self, grey: Grey) -> list[Place]:
        """Every place that shows a reference, sorted by reference."""
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
    """An index of all references' features by multi-probe locality-sensitive hashing (Lv et al. 2007), FLANN's.

    Each feature of a picture votes for the reference of its nearest neighbour, with a weight that falls with distance;
    votes add up per bin of rotation and scale (weak geometric consistency, Jegou, Douze and Schmid 2008, section 4).
    """

    hashes: ClassVar[Mapping[str, int]] = {"algorithm": 6, "table_number": 8, "key_size": 16, "multi_probe_level": 0}
    hamming = 9  # FLANN's code of the Hamming distance
    near = 8.0  # bits: distance at which the weight of a vote falls to 1/e
    least = 0.12  # votes; measured with 60 references: true ones had 0.14 and more, and 7 false ones a picture passed
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
        """The indices of the references with most votes, at most `most`, sorted."""
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
        place, used = found
        places.append(place)
        source, target, at_scale = source[~used], target[~used], at_scale[~used]
    return places


def _agreed(
    n: int, size: tuple[int, int], source: Points, target: Points, at_scale: npt.NDArray[np.float64]
) -> tuple[Place, npt.NDArray[np.bool_]] | None:
    """The place with most inliers, and a mask of the matches to remove: its inliers and all others within it."""
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
    """The Hamming distances and the indices of the nearest descriptors, (queries, most) each."""
    import cv2

    apart, places = cv2.batchDistance(queries, among, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=most)
    return np.asarray(apart, np.int32), np.asarray(places, np.int32)


def _orb(grey: Grey, scale: float, most: int, threshold: int = 7, edge_px: int = 31) -> tuple[Corners, Descriptors]:
    """The features of the scaled picture; coordinates in pixels of the original."""
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
