"""The map of a file's position: what the browser may tell of it, how it is written and drawn."""

import json

import pytest

from app.viewing import position

FILE, OTHER = "0" * 32, "1" * 32


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, None),
        ({}, None),
        ({"position": None}, None),
        ({"position": {"asset": FILE, "at": [48.2, -16.5]}}, (48.2, -16.5)),
        ({"position": {"asset": OTHER, "at": [48.2, 16.5]}}, None),  # of the file before
        ({"position": {"asset": FILE, "at": [148.2, 16.5]}}, None),
        ({"position": {"asset": FILE, "at": [48.2]}}, None),
        ({"position": {"asset": FILE, "at": "ab"}}, None),
        ({"position": {"asset": FILE, "at": [None, float("nan")]}}, None),
    ],
)
def test_a_position_is_shown_of_the_file_that_is_shown_if_it_is_one(state, expected):
    assert position.told_of(state, FILE) == expected


def test_a_position_is_written_with_its_hemispheres():
    assert position.in_words((48.20821, 16.3738)) == "48.2082° N, 16.3738° E"
    assert position.in_words((-33.5, -70.25)) == "33.5000° S, 70.2500° W"


def test_the_map_has_all_its_data_in_itself():
    spec = position.chart((48.2, 16.4)).to_json()
    assert '"url"' not in spec and "http" not in spec.replace(json.loads(spec)["$schema"], "")
    assert len(json.dumps(json.loads(spec), separators=(",", ":"))) < 100_000
    coasts = json.loads(spec)["layer"][1]["data"]
    assert coasts["format"] == {"type": "topojson", "feature": "land"} and coasts["values"]["type"] == "Topology"
