"""Measures of presence: precision, recall and F1 with intervals, curves, calibration. Pure functions of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959964  # of a 95 % interval
BINS = 10  # of a reliability diagram, each as wide
CALIBRATION_N = 100  # fewer scores say little of calibration: the error is biased upwards (arXiv:2012.08668)
CURVE_POINTS = 400

Score = float | None  # None: no detection was kept; it ranks below every score


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its 95 % interval and counts; or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    of: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of the reliability diagram: mean score and share that is true of files with scores in one tenth."""

    low: float
    high: float
    mean_score: float
    true: Figure


@dataclass(frozen=True, slots=True)
class Presence:
    """The measures of one label's presence in files, at one threshold and over all thresholds."""

    positives: int
    negatives: int
    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: Figure
    recall: Figure
    f1: Figure
    false_alarms: Figure  # false positive rate
    at_base_rate: Figure | None  # precision at the given base rate
    average_precision: Figure
    best_f1: Figure
    best_threshold: float | None
    curve: tuple[tuple[float, float, float], ...]  # recall, precision, threshold; from the lowest threshold up
    calibration_error: Figure
    bins: tuple[Bin, ...]


def share(hits: float, of: int, why: str = "") -> Figure:
    """The share hits / of with Wilson's score interval (Wilson 1927): 3 of 3 is 1.00 [0.44, 1.00]."""
    if of == 0:
        return Figure(None, hits=0, of=0, why=why or "n = 0")
    p, zz = hits / of, Z * Z
    middle, half = p + zz / (2 * of), Z * math.sqrt(p * (1 - p) / of + zz / (4 * of * of))
    low, high = (middle - half) / (1 + zz / of), (middle + half) / (1 + zz / of)
    whole = int(hits) if float(hits).is_integer() else None
    # exact where all or none hit; rounding errors would put the value outside
    return Figure(p, 0.0 if hits == 0 else low, 1.0 if hits == of else high, whole, of)


def presence(truth: Sequence[bool], scores: Sequence[Score], threshold: float, base_rate: float | None) -> Presence:
    """All measures of one label; `truth` and `scores` have one value for each file."""
    flagged = [score is not None and score >= threshold for score in scores]
    pairs = list(zip(truth, flagged, strict=True))
    tp, fp, fn = pairs.count((True, True)), pairs.count((False, True)), pairs.count((True, False))
    positives = tp + fn
    negatives = len(pairs) - positives
    recall = share(tp, positives, "no file is labelled to have it")
    false_alarms = share(fp, negatives, "no file is labelled not to have it")
    best_f1, best_threshold = best_threshold_of(truth, scores)
    calibration_error, bins = _reliability(truth, scores)
    return Presence(
        positives,
        negatives,
        threshold,
        tp,
        fp,
        fn,
        negatives - fp,
        precision=share(tp, tp + fp, "no file was flagged"),
        recall=recall,
        f1=_f1(tp, fp + fn) if positives else Figure(None, why=recall.why),
        false_alarms=false_alarms,
        at_base_rate=None if base_rate is None else precision_at(base_rate, recall, false_alarms),
        average_precision=_average_precision(truth, scores),
        best_f1=best_f1,
        best_threshold=best_threshold,
        curve=_curve(truth, scores),
        calibration_error=calibration_error,
        bins=bins,
    )


def precision_at(base_rate: float, recall: Figure, false_alarms: Figure) -> Figure:
    """Precision if a share `base_rate` of all files has the label, by Bayes' rule.

    The interval combines the worst and the best ends of both intervals, so it is wider than 95 %.
    """
    if recall.value is None or false_alarms.value is None:
        return Figure(None, why=recall.why or false_alarms.why)

    def precision(found: float, alarmed: float) -> float | None:
        right, flagged = found * base_rate, found * base_rate + alarmed * (1 - base_rate)
        return right / flagged if flagged else None

    value = precision(recall.value, false_alarms.value)
    if value is None:
        return Figure(None, why="no file was flagged")
    low = precision(recall.low or 0.0, false_alarms.high or 0.0)
    high = precision(recall.high or 0.0, false_alarms.low or 0.0)
    return Figure(value, low, high)


def _f1(tp: int, wrong: int) -> Figure:
    """F1 = 2J / (1 + J), J = tp / (tp + fp + fn): Wilson's interval of J, a share, transformed (arXiv:2008.00103)."""
    j = share(tp, tp + wrong)

    def carried(value: float | None) -> float | None:
        return None if value is None else 2 * value / (1 + value)

    return Figure(carried(j.value), carried(j.low), carried(j.high))


def _ranks(scores: Sequence[Score]) -> list[float]:
    return [-1.0 if score is None else score for score in scores]


def _one_class(truth: Sequence[bool]) -> str:
    if not any(truth):
        return "no file is labelled to have it"
    return "no file is labelled not to have it" if all(truth) else ""


def _average_precision(truth: Sequence[bool], scores: Sequence[Score]) -> Figure:
    """Average precision as in scikit-learn; its interval is that of a share of the positives (Boyd et al. 2013)."""
    from sklearn.metrics import average_precision_score

    if why := _one_class(truth):
        return Figure(None, why=why)
    positives = sum(truth)
    value = float(average_precision_score(truth, _ranks(scores)))
    as_share = share(value * positives, positives)
    return Figure(value, as_share.low, as_share.high)


def _curve(truth: Sequence[bool], scores: Sequence[Score]) -> tuple[tuple[float, float, float], ...]:
    from sklearn.metrics import precision_recall_curve

    if _one_class(truth):
        return ()
    precisions, recalls, thresholds = precision_recall_curve(truth, _ranks(scores))
    points = [
        (float(recall), float(precision), float(at))
        for recall, precision, at in zip(recalls[:-1], precisions[:-1], thresholds, strict=True)
        if at >= 0  # files without a detection cannot be flagged
    ]
    step = math.ceil(len(points) / CURVE_POINTS)
    return tuple(points[::step] if step > 1 else points)


def best_threshold_of(truth: Sequence[bool], scores: Sequence[Score]) -> tuple[Figure, float | None]:
    """The best F1 over all thresholds and the highest such threshold; chosen on the same files, so optimistic."""
    if why := _one_class(truth):
        return Figure(None, why=why), None
    ranked = sorted(((s, t) for s, t in zip(scores, truth, strict=True) if s is not None), reverse=True)
    if not ranked:
        return Figure(None, why="nothing was found in any file"), None
    positives, tp, best = sum(truth), 0, (-1.0, 0, 0, 0.0)
    for n, (score, true) in enumerate(ranked, 1):
        tp += true
        if n == len(ranked) or ranked[n][0] != score:
            wrong = (n - tp) + (positives - tp)
            best = max(best, (2 * tp / (2 * tp + wrong), tp, wrong, score), key=lambda one: one[0])
    _, tp, wrong, threshold = best
    return _f1(tp, wrong), threshold


def _reliability(truth: Sequence[bool], scores: Sequence[Score]) -> tuple[Figure, tuple[Bin, ...]]:
    """Expected calibration error over bins of equal width (Naeini et al. 2015), of the files that have a score."""
    filled: dict[int, list[tuple[float, bool]]] = {}
    for score, true in zip(scores, truth, strict=True):
        if score is not None:
            filled.setdefault(min(int(score * BINS), BINS - 1), []).append((score, true))
    bins = tuple(
        Bin(
            place / BINS,
            (place + 1) / BINS,
            sum(score for score, _ in held) / len(held),
            share(sum(true for _, true in held), len(held)),
        )
        for place, held in sorted(filled.items())
    )
    n = sum(len(held) for held in filled.values())
    if n < CALIBRATION_N:
        return Figure(None, of=n, why=f"{n} files have a score; at least {CALIBRATION_N} are needed"), bins
    apart = sum(abs(one.mean_score - (one.true.value or 0.0)) * (one.true.of or 0) for one in bins)
    return Figure(apart / n, of=n), bins
