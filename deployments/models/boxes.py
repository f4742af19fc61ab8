"""Comparison of boxes, which are left, top, right, bottom in fractions of the frame."""

from cluster.records import Box


def overlap(one: Box, other: Box) -> float:
    """Intersection over union; 0 for boxes without an area."""
    shared = area(_intersection(one, other))
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def within(part: Box, whole: Box) -> float:
    """The share of the first box that lies in the second; 0 for a box without an area."""
    return area(_intersection(part, whole)) / area(part) if area(part) > 0 else 0.0


def area(box: Box) -> float:
    """The area as a share of the frame; 0 for an inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def turned_back(box: Box, quarters: int) -> Box:
    """A box in fractions of a picture turned counter-clockwise by `quarters`, in fractions of the picture itself."""
    left, top, right, bottom = box
    for _ in range(quarters):
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    return left, top, right, bottom


def _intersection(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
