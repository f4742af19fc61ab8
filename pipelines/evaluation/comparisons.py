"""Error measures of texts (edits), counts, and face verification. Pure functions of numbers and texts."""

import math
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.measures import Figure, share

if TYPE_CHECKING:
    import jiwer

RESAMPLED, RESAMPLED_N = 1000, 10  # bootstrap samples for an interval, and the least number of texts for one
EER_PAIRS = 10  # least number of pairs of each kind for an equal error rate
STEPS, BETWEEN = 40, 400  # points of a sweep, and distances tried for the best


@dataclass(frozen=True, slots=True)
class Edits:
    """The edits from the reference text to the recognised one, in words or in characters."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int
    steps: tuple[tuple[str, str, str], ...]  # equal, substitute, delete or insert; reference; recognised

    @property
    def of(self) -> int:
        """The length of the reference text, in words or characters."""
        return self.hits + self.substitutions + self.deletions

    @property
    def wrong(self) -> int:
        """The number of edits."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of objects in files: found against labelled."""

    exact: Figure
    mean_error: float  # mean absolute error of the number
    missed: int
    extra: int

    @property
    def wrong(self) -> str:
        """The errors as a phrase."""
        return f"{self.missed} missed, {self.extra} too many"


@dataclass(frozen=True, slots=True)
class Operating:
    """An operating point of verification: pairs up to `distance` count as the same person."""

    distance: float
    accuracy: Figure
    joined_same: Figure  # of the pairs of one person
    joined_different: Figure  # of the pairs of two


@dataclass(frozen=True, slots=True)
class Verification:
    """Face verification: whether two files show the same person, by the distance of their nearest faces."""

    same: int
    different: int
    in_use: Operating | None
    best: Operating | None  # chosen on the same pairs, so it is optimistic
    sweep: tuple[Operating, ...]
    equal_error: Figure
    equal_error_distance: float | None


def word_edits(right: str, answered: str) -> Edits:
    """Edits in words, without case and punctuation, by jiwer."""
    import jiwer

    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation()])
    told, heard = (str(plain(_flat(text))).split() for text in (right, answered))
    return _edits(told, heard, " ", jiwer.process_words(" ".join(told), " ".join(heard)))


def character_edits(right: str, answered: str) -> Edits:
    """Edits in characters, with case and punctuation; white space of any length counts as one space."""
    import jiwer

    told, read = _flat(right), _flat(answered)
    return _edits(list(told), list(read), "", jiwer.process_characters(told, read))


def _flat(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _edits(
    told: list[str], answered: list[str], between: str, compared: "jiwer.WordOutput | jiwer.CharacterOutput"
) -> Edits:
    steps = tuple(
        (
            step.type,
            between.join(told[step.ref_start_idx : step.ref_end_idx]),
            between.join(answered[step.hyp_start_idx : step.hyp_end_idx]),
        )
        for step in compared.alignments[0]
    )
    return Edits(compared.hits, compared.substitutions, compared.deletions, compared.insertions, steps)


def error_rate(edits: Sequence[Edits]) -> Figure:
    """Edits over the length of all reference texts together; above 1 if much was inserted.

    The interval is a bootstrap over texts (Bisani and Ney 2004), since words of one text are not independent.
    """
    there = [one for one in edits if one.of]
    wrong, of = sum(one.wrong for one in there), sum(one.of for one in there)
    if not of:
        return Figure(None, why="no file is labelled with a text that is not empty")
    if len(there) < RESAMPLED_N:
        why = f"no interval: {len(there)} texts, at least {RESAMPLED_N} are needed"
        return Figure(wrong / of, hits=wrong, of=of, why=why)
    draw = random.Random(0)  # the same input gives the same interval
    drawn = [draw.choices(there, k=len(there)) for _ in range(RESAMPLED)]
    rates = sorted(sum(one.wrong for one in some) / sum(one.of for one in some) for some in drawn)
    return Figure(wrong / of, rates[int(0.025 * RESAMPLED)], rates[int(0.975 * RESAMPLED) - 1], wrong, of)


def counts(pairs: Sequence[tuple[int, int]]) -> Counts:
    """Measures of pairs (labelled, found), of which there must be one at least."""
    apart = [found - labelled for labelled, found in pairs]
    return Counts(
        share(apart.count(0), len(apart)),
        sum(map(abs, apart)) / len(apart),
        -sum(one for one in apart if one < 0),
        sum(one for one in apart if one > 0),
    )


def verification(distances: Sequence[float], same: Sequence[bool], in_use: float | None) -> Verification:
    """Measures of pairs of files, by distance and by whether they show the same person; `in_use`: the set distance.

    Pairs that share a file are not independent, so the intervals are too narrow.
    """
    apart, truth = np.asarray(distances, float), np.asarray(same, bool)
    farthest = math.ceil(apart.max(initial=0.0) * 100) / 100
    sweep = (
        tuple(_operating(apart, truth, float(at)) for at in np.linspace(0, farthest, STEPS + 1)) if len(apart) else ()
    )
    every = (_operating(apart, truth, at) for at in _between(apart))
    rate, at = _equal_error(apart, truth)
    return Verification(
        int(truth.sum()),
        int((~truth).sum()),
        None if in_use is None or not len(apart) else _operating(apart, truth, in_use),
        max(every, key=lambda one: one.accuracy.value or 0.0, default=None),
        sweep,
        rate,
        at,
    )


def _between(apart: npt.NDArray[np.float64]) -> list[float]:
    """Candidate thresholds: midpoints of neighbouring distances and the largest; some hundred at most."""
    ordered = np.unique(apart)
    ordered = ordered[:: max(1, len(ordered) // BETWEEN)]
    return [*((ordered[1:] + ordered[:-1]) / 2).tolist(), *ordered[-1:].tolist()]


def _operating(apart: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], at: float) -> Operating:
    joined = apart <= at
    return Operating(
        at,
        share(int((joined == same).sum()), len(same)),
        share(int((joined & same).sum()), int(same.sum()), "no two files are labelled with the same person"),
        share(int((joined & ~same).sum()), int((~same).sum()), "no two files are labelled with different people"),
    )


def _equal_error(apart: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> tuple[Figure, float | None]:
    """The equal error rate and its distance: where false rejections and false acceptances are equally frequent."""
    of_one, of_two = int(same.sum()), int((~same).sum())
    rarer = min(of_one, of_two)
    if rarer < EER_PAIRS:
        why = f"{of_one} pairs of one person, {of_two} of two; at least {EER_PAIRS} of each are needed"
        return Figure(None, why=why), None
    from sklearn.metrics import roc_curve

    joined_different, joined_same, thresholds = roc_curve(same, -apart, drop_intermediate=False)
    ahead = 1 - joined_same - joined_different  # false rejection rate minus false acceptance rate; falls from 1 to -1
    at = int((ahead <= 0).argmax())
    part = ahead[at - 1] / (ahead[at - 1] - ahead[at])
    rate = float(joined_different[at - 1] + part * (joined_different[at] - joined_different[at - 1]))
    around = share(rate * rarer, rarer)  # the interval is that of the rarer kind of pairs
    return Figure(rate, around.low, around.high), -float(thresholds[at])
