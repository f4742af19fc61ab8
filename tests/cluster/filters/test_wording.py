"""Conditions, sizes and times in words."""

import pytest

from cluster.filters import wording
from cluster.filters.conditions import parse


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("face:face>=0.5<=0.75", "face, score 0.50 to 0.75"),
        ("clip:beach<=0.5", "beach by clip, score up to 0.50"),
        (":~total due", "“total due” in a text or speech"),
        ("!name~holiday", "not: name contains “holiday”"),
        ("scanned<=2026-11-23", "scanned up to 2026-11-23"),
        ("scanned>=2026-11-23T10:30:00Z", "scanned from 2026-11-23 10:30 UTC"),
        ("bytes>=2000000", "size from 2.0 MB"),
        ("duration<=90", "length up to 90 s"),
        ("error~", "failed"),
        ("error~disk", "failed with “disk”"),
        (":", "anything"),
    ],
)
def test_a_condition_is_shown_in_words(condition: str, expected: str):
    assert parse(condition)
    assert wording.alternatives(condition) == [expected]


def test_times_are_formatted_with_minutes_and_seconds():
    assert [wording.clock(seconds) for seconds in (None, 7.9, 760, 3723)] == ["", "0:07", "12:40", "1:02:03"]


def test_sizes_are_formatted_with_units():
    assert [wording.format_bytes(size) for size in (None, 12, 183_204, 4_200_000_000)] == [
        "",
        "12 bytes",
        "183.2 kB",
        "4.2 GB",
    ]
