"""The program that draws the dashboards for the docs: it shows what the queries return, and what has no data."""

import pytest
from PIL import Image

from tests.monitoring.drawing import RATE_INTERVAL, boards, draw, series, written


def answering(queries):
    """A Prometheus that answers queries about jobs only, with two states."""

    def ask(query):
        queries.append(query)
        if "ray_raysift_jobs" not in query:
            return []
        values = [[1_800_000_000 + 10 * n, str(n)] for n in range(6)]
        return [{"metric": {"state": state}, "values": values} for state in ("running", "waiting")]

    return ask


def test_every_panel_is_drawn_and_those_without_data_are_named(tmp_path):
    queries = []
    for name, board in boards().items():
        titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
        empty = draw(board, answering(queries), tmp_path / f"{name}.png")
        assert [title for title in titles if title not in empty] == (["Jobs that are not over"] * (name == "scans"))
        assert Image.open(tmp_path / f"{name}.png").size[0] > 1000
    assert not any("$" in query for query in queries) and any(f"[{RATE_INTERVAL}]" in query for query in queries)


def test_a_series_is_named_by_its_legend_and_has_no_value_where_prometheus_has_none():
    panel = {"targets": [{"expr": "x", "legendFormat": "{{kind}} {{outcome}}!"}]}
    found = [
        {"metric": {"kind": "image", "outcome": "done"}, "values": [[1, "2.5"], [2, "NaN"], [3, "4"]]},
        {"metric": {"kind": "video"}, "values": [[1, "NaN"]]},
    ]
    assert series(panel, lambda query: found) == [("image done!", [1.0, 3.0], [2.5, 4.0])]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "s", "250 ms"),
        (2, "s", "2 s"),
        (0.5, "percentunit", "50 %"),
        (1.5e6, "Bps", "1.5 MB/s"),
        (3, "ops", "3/s"),
    ],
)
def test_values_have_their_units(value, unit, text):
    assert written(value, unit) == text
