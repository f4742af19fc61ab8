"""The measures against cases worked out by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics

from pipelines.evaluation.comparisons import character_edits, counts, error_rate, verification, word_edits
from pipelines.evaluation.measures import Figure, precision_at, presence, share


def judged(truth, scores, threshold=0.0, base_rate=None):
    return presence(truth, scores, threshold, base_rate)


def test_the_interval_of_three_of_three_begins_below_one():
    three = share(3, 3)
    assert three.value == three.high == 1.0
    assert three.low == pytest.approx(0.4385, abs=1e-4)  # 3 / (3 + z^2)


def test_wilsons_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, of), (low, high) in published.items():
        assert (share(hits, of).low, share(hits, of).high) == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_zero_has_a_reason():
    assert share(0, 0, "no file was flagged") == Figure(None, hits=0, of=0, why="no file was flagged")


def test_counts_true_positives_misses_and_false_alarms():
    of = judged([True, True, True, False, False], [0.9, 0.4, None, 0.8, 0.1], threshold=0.5)
    assert (of.tp, of.fp, of.fn, of.tn) == (1, 1, 2, 1)
    assert (of.precision.hits, of.precision.of) == (1, 2)
    assert of.recall.value == pytest.approx(1 / 3)
    assert of.f1.value == pytest.approx(2 / 5)
    assert of.false_alarms.value == 0.5
    assert of.f1.low < of.f1.value < of.f1.high


def test_a_score_at_the_threshold_counts_and_a_missing_score_never_does():
    of = judged([True, True], [0.5, None], threshold=0.5)
    assert (of.tp, of.fn) == (1, 1)
    assert judged([True, True], [0.5, None], threshold=0.0).fn == 1


def test_curve_and_average_precision_equal_scikit_learns():
    rng = np.random.default_rng(1)
    truth = rng.random(300) < 0.3
    scores = (0.3 * truth + 0.7 * rng.random(300)).round(2)
    of = judged(truth.tolist(), scores.tolist(), threshold=0.5)
    assert of.average_precision.value == pytest.approx(metrics.average_precision_score(truth, scores))
    flagged = scores >= 0.5
    assert of.precision.value == pytest.approx(metrics.precision_score(truth, flagged))
    assert of.recall.value == pytest.approx(metrics.recall_score(truth, flagged))
    assert of.f1.value == pytest.approx(metrics.f1_score(truth, flagged))
    every = [metrics.f1_score(truth, scores >= at) for at in np.unique(scores)]
    assert of.best_f1.value == pytest.approx(max(every))
    assert metrics.f1_score(truth, scores >= of.best_threshold) == pytest.approx(max(every))
    for recall, precision, at in of.curve:
        assert recall == pytest.approx(metrics.recall_score(truth, scores >= at))
        assert precision == pytest.approx(metrics.precision_score(truth, scores >= at))


def test_a_perfect_detector_has_the_whole_curve():
    of = judged([True] * 5 + [False] * 5, [0.8] * 5 + [0.2] * 5, threshold=0.5)
    assert of.precision.value == of.recall.value == of.f1.value == of.average_precision.value == of.best_f1.value == 1
    assert of.precision.low < 0.6, "five files prove little"
    assert of.best_threshold == 0.8


def test_the_average_precision_of_equal_scores_is_the_share_of_positives():
    of = judged([True] * 2 + [False] * 8, [0.5] * 10)
    assert of.average_precision.value == pytest.approx(0.2)
    assert of.precision.value == pytest.approx(0.2) and of.recall.value == 1


def test_without_detections_precision_has_a_reason_instead_of_a_value():
    of = judged([True, False], [None, None])
    assert of.precision.value is None and of.precision.why == "no file was flagged"
    assert of.recall.value == 0 and of.best_f1.why == "nothing was found in any file"
    assert of.curve == () and of.best_threshold is None


def test_labels_of_one_class_leave_out_measures_that_need_both():
    only_without = judged([False] * 4, [0.3, None, None, None], base_rate=0.01)
    assert only_without.recall.why == only_without.average_precision.why == "no file is labelled to have it"
    assert only_without.f1.why == only_without.at_base_rate.why == "no file is labelled to have it"
    assert only_without.false_alarms.value == 0.25
    only_with = judged([True] * 4, [0.3, 0.4, None, 0.2])
    assert only_with.recall.value == 0.75
    assert only_with.average_precision.why == only_with.false_alarms.why == "no file is labelled not to have it"
    assert all(not math.isnan(f.value) for f in (only_with.recall, only_with.precision, only_with.f1))


def test_precision_falls_with_the_base_rate():
    # 99 % found, 1 % false alarms, 1 in 1000 has it: 0.99 / (0.99 + 9.99)
    of = precision_at(0.001, share(990, 1000), share(100, 10_000))
    assert of.value == pytest.approx(0.0902, abs=1e-4)
    assert of.low < of.value < of.high
    assert precision_at(0.5, share(990, 1000), share(100, 10_000)).value == pytest.approx(0.99)


def test_twenty_files_without_false_alarm_leave_precision_uncertain_at_a_low_base_rate():
    of = precision_at(0.001, share(20, 20), share(0, 20))
    assert of.value == 1.0 and of.low < 0.01


def test_scores_that_are_probabilities_are_calibrated():
    rng = np.random.default_rng(2)
    scores = rng.random(20_000)
    truth = rng.random(20_000) < scores
    assert judged(truth.tolist(), scores.tolist()).calibration_error.value < 0.02
    # all at 0.9, half of them true
    of = judged([True, False] * 100, [0.9] * 200)
    assert of.calibration_error.value == pytest.approx(0.4)
    (only,) = of.bins
    assert (only.low, only.high, only.true.of) == (0.9, 1.0, 200)


def test_calibration_needs_a_minimum_of_scores():
    of = judged([True, False], [1.0, None])
    assert of.calibration_error.value is None and "1 files have a score; at least 100" in of.calibration_error.why
    assert of.bins[0].low == 0.9


def test_words_are_compared_without_case_and_punctuation():
    edits = word_edits("Ask not, what your COUNTRY can do.", "ask not what the country can do for")
    assert (edits.hits, edits.substitutions, edits.deletions, edits.insertions) == (6, 1, 0, 1)
    assert (edits.wrong, edits.of) == (2, 7)
    assert ("substitute", "your", "the") in edits.steps and ("insert", "", "for") in edits.steps


def test_characters_are_compared_with_case_but_any_white_space_is_one_space():
    assert character_edits("Launch  day\n14:30", "Launch day 14.30").wrong == 1
    assert character_edits("LAUNCH", "launch").wrong == 6
    assert character_edits("e\u0301te\u0301", "été").wrong == 0


def test_empty_reference_texts_are_not_part_of_the_rate():
    edits = [word_edits("one two", "one too"), word_edits("", "thanks for watching")]
    rate = error_rate(edits)
    assert (rate.value, rate.hits, rate.of) == (0.5, 1, 2)
    assert edits[1].insertions == 3
    assert rate.low is None and "at least 10 are needed" in rate.why
    assert error_rate(edits[1:]).value is None


def test_many_texts_give_an_interval_that_is_the_same_every_time():
    edits = [word_edits("one two three four", "one two three four" if n % 2 else "one two three") for n in range(40)]
    rate = error_rate(edits)
    assert rate.value == 20 / 160
    assert 0.07 < rate.low < rate.value < rate.high < 0.18
    assert error_rate(edits) == rate


def test_counts_of_objects():
    of = counts([(2, 2), (1, 0), (0, 3), (1, 1)])
    assert (of.exact.hits, of.exact.of, of.mean_error, of.missed, of.extra) == (2, 4, 1.0, 1, 3)


def test_pairs_of_well_separated_distances_are_classified_without_error():
    of = verification([0.1, 0.2, 0.8, 0.9, 1.0], [True, True, False, False, False], in_use=0.5)
    assert of.in_use.accuracy.value == of.best.accuracy.value == 1
    assert (of.in_use.joined_same.hits, of.in_use.joined_different.hits) == (2, 0)
    assert 0.2 <= of.best.distance < 0.8
    assert of.equal_error.value is None and "2 pairs of one person" in of.equal_error.why
    assert of.sweep[0].joined_same.value == 0 and of.sweep[-1].joined_different.value == 1


def test_the_equal_error_rate_is_where_the_two_kinds_of_error_meet():
    # one in ten of either kind lies on the wrong side of 0.5
    of = verification([0.1] * 9 + [0.9] + [0.9] * 9 + [0.1], [True] * 10 + [False] * 10, None)
    assert of.equal_error.value == pytest.approx(0.1)
    assert of.in_use is None
    rng = np.random.default_rng(3)
    same = rng.normal(0.4, 0.1, 4000).clip(0)
    two = rng.normal(0.8, 0.1, 4000).clip(0)
    of = verification([*same, *two], [True] * 4000 + [False] * 4000, 0.6)
    assert of.equal_error.value == pytest.approx(0.0228, abs=0.005)  # two standard deviations
    assert of.equal_error_distance == pytest.approx(0.6, abs=0.02)


def test_without_pairs_there_are_no_figures():
    of = verification([], [], 0.6)
    assert of.best is of.in_use is None and of.sweep == ()
    only_two = verification([0.7], [False], 0.6)
    assert only_two.in_use.joined_same.why == "no two files are labelled with the same person"
