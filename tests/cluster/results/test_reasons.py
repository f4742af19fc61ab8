"""Reasons of failures that are grouped."""

import pytest

from cluster.results.reasons import alike


@pytest.mark.parametrize(
    ("reason", "plain"),
    [
        ("s3://b/x y.jpg is not there", "… y.jpg is not there"),
        ("it's 3.5 GB, 12% too much", "it's N GB, N% too much"),
        ("no `moov` atom at 0x1f in /tmp/a/b.mp4", "no … atom at NxNf in …"),
    ],
)
def test_reasons_that_differ_in_names_and_numbers_are_grouped(reason, plain):
    assert alike(reason) == plain
