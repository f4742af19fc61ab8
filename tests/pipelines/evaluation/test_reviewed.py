"""Precision, thresholds and agreement from decisions."""

import pytest

from cluster.decisions.entries import Opinion
from pipelines.evaluation.answers import Answers
from pipelines.evaluation.reviewed import agreements, reviewed


def answers(*scores: float, detector: str = "nsfw", label: str = "nude") -> Answers:
    return Answers(detections={detector: [{"detector": detector, "label": label, "score": score} for score in scores]})


def opinions(*labels: str) -> list[Opinion]:
    return [Opinion(f"key:{n}", ("Ann", "Bob", "Cy")[n], label) for n, label in enumerate(labels)]


def test_precision_is_the_share_of_confirmed_files_with_the_label_at_the_threshold():
    found = {"a": answers(0.9, 0.2), "b": answers(0.8), "c": answers(0.3), "d": answers()}
    decided = {"a": True, "b": False, "c": True, "d": True}
    (all_scores,) = reviewed(decided, found, {})
    assert (all_scores.detector, all_scores.label) == ("nsfw", "nude")
    assert (all_scores.precision.hits, all_scores.precision.of) == (2, 3)
    assert all_scores.precision.low < 2 / 3 < all_scores.precision.high
    (high,) = reviewed(decided, found, {"nsfw": 0.5})
    assert (high.precision.hits, high.precision.of) == (1, 2)
    assert high.threshold.value is None and "10 files" in high.threshold.why


def test_a_file_without_a_decision_counts_for_nothing():
    (judged,) = reviewed({"a": True}, {"a": answers(0.9), "b": answers(0.9)}, {})
    assert judged.precision.of == 1


def test_a_threshold_is_suggested_that_separates_what_is_confirmed_from_what_is_not():
    found = {f"{n}": answers(n / 40) for n in range(40)}
    decided = {f"{n}": n >= 20 for n in range(40)}
    (judged,) = reviewed(decided, found, {})
    assert judged.threshold.value == pytest.approx(0.5)
    assert judged.threshold.low <= 0.5 <= judged.threshold.high
    assert judged == reviewed(decided, found, {})[0]  # the bootstrap draws the same samples every time


def test_agreement_is_counted_for_each_two_reviewers_on_their_common_files():
    files = [opinions("yes", "yes"), opinions("yes", "no"), opinions("no", "no"), opinions("no", "no", "no")]
    by_pair = {(one.first, one.second): one for one in agreements(files)}
    assert set(by_pair) == {("Ann", "Bob"), ("Ann", "Cy"), ("Bob", "Cy")}
    pair = by_pair["Ann", "Bob"]
    assert (pair.same.hits, pair.same.of) == (3, 4)
    assert pair.kappa.value == pytest.approx(0.5)  # 3 of 4 agree, 2 of 4 would by chance
    assert by_pair["Ann", "Cy"].kappa.value is None and "same label" in by_pair["Ann", "Cy"].kappa.why


def test_reviewers_of_the_same_name_are_two():
    same_name = [Opinion("key:1", "Ann", "yes"), Opinion("key:2", "Ann", "no")]
    (pair,) = agreements([same_name])
    assert (pair.first, pair.second, pair.same.hits) == ("Ann", "Ann", 0)
