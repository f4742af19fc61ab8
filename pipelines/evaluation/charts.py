"""The charts of an evaluation as SVG, in the colours of the page. They contain numbers only, no text from files."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from pipelines.evaluation.comparisons import Operating
from pipelines.evaluation.measures import Bin, Figure

WIDE, HIGH = 320, 230  # size of the view box
LEFT, RIGHT, TOP, BOTTOM = 38, 306, 10, 194  # edges of the plot area in it

Point = tuple[float, float]  # both from 0 to 1


def curve(points: Iterable[tuple[float, float, float]], at: Point | None, share: float) -> Markup:
    """The precision-recall curve, with the point at the threshold and the line of random guessing."""
    line = [(recall, precision) for recall, precision, _ in points]
    guess = _line([(0, share), (1, share)], "guess")
    return _chart("Precision over recall", "recall", "precision", guess + _line(line, "line") + _mark(at))


def reliability(bins: Sequence[Bin]) -> Markup:
    """The reliability diagram: share that is true over mean score, with intervals; the diagonal is calibrated."""
    parts = [_line([(0, 0), (1, 1)], "guess")]
    for one in bins:
        if one.true.value is not None and one.true.low is not None and one.true.high is not None:
            x = one.mean_score
            parts += [_line([(x, one.true.low), (x, one.true.high)], "range"), _mark((x, one.true.value), "dot")]
    return _chart("Share that is true, by score", "score", "share true", Markup("").join(parts))


def sweep(points: Sequence[Operating], in_use: float | None) -> Markup:
    """Share of pairs matched by distance: for pairs of the same person, and of different people."""
    farthest = points[-1].distance or 1.0
    same = [(one.distance / farthest, one.joined_same.value) for one in points if one.joined_same.value is not None]
    two = [
        (one.distance / farthest, one.joined_different.value)
        for one in points
        if one.joined_different.value is not None
    ]
    drawn = _line(same, "line") + _line(two, "other")
    if in_use is not None and in_use <= farthest:
        drawn += _line([(in_use / farthest, 0), (in_use / farthest, 1)], "guess")
    return _chart("Pairs joined, by distance", "distance", "share joined", drawn, farthest)


def interval(figure: Figure) -> Markup:
    """A figure from 0 to 1 on a line, with its confidence interval."""
    if figure.value is None:
        return Markup("")
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return Markup(
        '<svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" x="0" y="5" width="100" height="2"/>'
        '<rect class="range" x="{:.1f}" y="3" width="{:.1f}" height="6"/>'
        '<rect class="value" x="{:.1f}" y="0" width="2" height="12"/></svg>'
    ).format(100 * min(low, 1), 100 * max(0.0, min(high, 1) - min(low, 1)), min(98.0, max(0.0, 100 * figure.value - 1)))


def _chart(title: str, across: str, up: str, drawn: Markup, farthest: float = 1.0) -> Markup:
    ticks = Markup("").join(_tick(n / 4, f"{n / 4 * farthest:.2g}", f"{n / 4:.2g}") for n in range(5))
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
        '<text x="{}" y="226" text-anchor="middle">{}</text>'
        '<text transform="translate(9 {}) rotate(-90)" text-anchor="middle">{}</text></svg>'
    ).format(WIDE, HIGH, title, ticks, drawn, (LEFT + RIGHT) // 2, across, (TOP + BOTTOM) // 2, up)


def _tick(at: float, across: str, up: str) -> Markup:
    x, y = _place((at, at))
    return Markup(
        '<path class="grid" d="M{0:.1f} {2}V{3}M{4} {1:.1f}H{5}"/>'
        '<text x="{0:.1f}" y="210" text-anchor="middle">{6}</text>'
        '<text x="{7}" y="{8:.1f}" text-anchor="end">{9}</text>'
    ).format(x, y, TOP, BOTTOM, LEFT, RIGHT, across, LEFT - 5, y + 3.5, up)


def _line(points: Sequence[Point], kind: str) -> Markup:
    placed = " ".join("{:.1f},{:.1f}".format(*_place(point)) for point in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, placed) if placed else Markup("")


def _mark(at: Point | None, kind: str = "mark") -> Markup:
    return (
        Markup("")
        if at is None
        else Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(kind, *_place(at))
    )


def _place(point: Point) -> Point:
    return LEFT + point[0] * (RIGHT - LEFT), BOTTOM - point[1] * (BOTTOM - TOP)
