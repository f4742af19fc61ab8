"""What reviewers' decisions say of the detectors, and of each other: precision, a threshold, agreement.

A decision is on a file, and counts for everything that was found in it. Recall is not known: nobody has looked at
files in which nothing was found.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cluster.decisions.entries import Opinion
from pipelines.evaluation.answers import Answers
from pipelines.evaluation.measures import Figure, best_threshold_of, share

LEAST = 10  # files of a label that are confirmed, and that are not, from which a threshold is suggested
DRAWS = 200  # of the bootstrap, each of as many files as there are


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One label of a detector in the files that reviewers have decided."""

    detector: str
    label: str
    precision: Figure  # share of the files with it, at the threshold in use, that a decision confirms
    threshold: Figure  # with the best F1 among these files; 95 % interval by bootstrap


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two reviewers agree on the files that both have decided."""

    first: str
    second: str
    same: Figure  # share of the files
    kappa: Figure  # Cohen's: 0 as by chance, 1 always


def reviewed(
    decided: Mapping[str, bool], found: Mapping[str, Answers], thresholds: Mapping[str, float]
) -> list[Reviewed]:
    """Compare detections with decisions, the label with the most files first.

    `decided`: URI -> whether the decision confirms what was found. `found`: URI -> detectors' answers.
    """
    best: dict[tuple[str, str], dict[str, float]] = {}  # detector and label -> URI -> its highest score there
    for uri, answers in found.items():
        for detector, detections in answers.detections.items():
            for detection in detections:
                of_files = best.setdefault((detector, detection["label"]), {})
                of_files[uri] = max(of_files.get(uri, 0.0), detection["score"])
    judged = []
    for (detector, label), of_files in best.items():
        scored = [(score, decided[uri]) for uri, score in of_files.items() if uri in decided]
        hits = [confirmed for score, confirmed in scored if score >= thresholds.get(detector, 0.0)]
        precision = share(sum(hits), len(hits), "no decided file has it at this threshold")
        if scored:
            judged.append(Reviewed(detector, label, precision, _threshold(scored)))
    return sorted(judged, key=lambda one: (-(one.precision.of or 0), one.detector, one.label))


def _threshold(scored: Sequence[tuple[float, bool]]) -> Figure:
    """The threshold with the best F1, with its 95 % percentile interval over bootstrap samples of the files."""
    confirmed = sum(truth for _, truth in scored)
    if min(confirmed, len(scored) - confirmed) < LEAST:
        return Figure(None, of=len(scored), why=f"it needs {LEAST} files that are confirmed, and {LEAST} that are not")
    draw = random.Random(0)  # the same figures every time
    samples = [_best(draw.choices(scored, k=len(scored))) for _ in range(DRAWS)]
    drawn = sorted(threshold for threshold in samples if threshold is not None)
    cut = len(drawn) // 40
    return Figure(_best(scored), drawn[cut], drawn[-1 - cut], of=len(scored))


def _best(scored: Iterable[tuple[float, bool]]) -> float | None:
    scores, truth = zip(*scored, strict=True)
    return best_threshold_of(truth, scores)[1]


def agreements(opinions: Iterable[Sequence[Opinion]]) -> list[Agreement]:
    """Each two reviewers with files in common, those with the most files first. `opinions`: of each file."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    names: dict[str, str] = {}
    for of_file in opinions:
        names |= {opinion.owner: opinion.who for opinion in of_file}
        for first, second in combinations(sorted(of_file, key=lambda opinion: opinion.owner), 2):
            pairs.setdefault((first.owner, second.owner), []).append((first.label, second.label))
    found = [
        Agreement(names[first], names[second], _same(labels), _kappa(labels))
        for (first, second), labels in pairs.items()
    ]
    return sorted(found, key=lambda one: (-(one.same.of or 0), one.first, one.second))


def _same(labels: Sequence[tuple[str, str]]) -> Figure:
    return share(sum(first == second for first, second in labels), len(labels))


def _kappa(labels: Sequence[tuple[str, str]]) -> Figure:
    from sklearn.metrics import cohen_kappa_score

    if len({label for pair in labels for label in pair}) < 2:
        return Figure(None, of=len(labels), why="both have given all files the same label")
    firsts, seconds = zip(*labels, strict=True)
    return Figure(float(cohen_kappa_score(firsts, seconds)), of=len(labels))
