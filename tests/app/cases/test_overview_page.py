"""The Overview page and its figures."""

import re
from datetime import date
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from app.figures import figure
from app.figures.drawing import table
from cluster.api_job_types import LeftOutGroup
from cluster.cases.overview import Day
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import HOSTILE_NAME, detection, file
from tests.support.pages import Visit, served, words


def charts(at: AppTest) -> dict[str, dict[str, float]]:
    """The values of each chart by label, by the beginning of its text alternative."""
    drawn = {}
    for element in at.get("vega_lite_chart"):
        values = pa.ipc.open_stream(element.proto.data.data).read_all().to_pylist()
        drawn[element.proto.alt.split(":")[0]] = {value["label"]: value["value"] for value in values}
    return drawn


def links(text: str) -> list[tuple[str, dict[str, list[str]]]]:
    """The text and the parameters of each link to Browse."""
    found = re.findall(r'<a href="(/\??[^"]*)" target="_self">([^<]*)</a>', text)
    return [(shown, parse_qs(urlsplit(unescape(target)).query)) for target, shown in found]


def test_charts_show_files_by_kind_detector_label_and_score(visit: Visit):
    at = visit("overview")
    drawn = charts(at)
    assert drawn["Kinds, files"] == {"image": 72, "video": 4, "audio": 4}
    assert drawn["Found by, files"]["face"] == 38
    assert drawn["Failed, by reason, failures"] == {
        "decode: the file ends early": 1,
        "fetch: the bucket refused access": 1,
    }
    assert drawn["Scanned, by day, files"] == {"2026-11-22": 80}
    assert ("80 files", {}) in links(words(at)) and ("2 failed", {"state": ["failed"]}) in links(words(at))


def test_tables_have_a_link_to_the_files_of_each_value(visit: Visit):
    shown = links(words(visit("overview", **{"as": "Tables", "least_score": "0.6"})))
    assert ("4", {"kind": ["video"]}) in shown
    assert ("38", {"detector": ["face"], "min_score": ["0.6"]}) in shown
    assert ("38", {"detector_label": ["face:face"], "min_score": ["0.6"]}) in shown
    assert ("1", {"where": ["error~the file ends early"]}) in shown
    assert ("80", {"where": ["scanned>=2026-11-22", "scanned<=2026-11-22"]}) in shown


def test_a_page_narrowed_by_its_url_keeps_the_filters_in_its_links(visit: Visit):
    at = visit("overview", kind=["video"], **{"as": "Tables"})
    assert "4 files" in words(at) and "Only these files: kind video" in words(at)
    assert all(params["kind"] == ["video"] for _, params in links(words(at)) if "kind" in params)
    assert ("3", {"kind": ["video"], "detector": ["ocr"], "min_score": ["0.5"]}) in links(words(at))


def test_the_page_shows_what_jobs_left_out_and_how_long_detectors_took(visit: Visit):
    api = FakeApi()
    api.jobs.begin(["s3://evidence"]).began -= 60
    api.jobs.begin(["s3://evidence"], state="running")
    with served(api) as port:
        at = visit("overview", port=port)
    drawn = charts(at)
    assert drawn["Computing time, seconds"] == {"ocr": 1234.5, "nsfw": 12.5}
    assert drawn["Left out, by reason, files and folders"][".svg: it is no image, video or audio"] == 6
    (progress,) = at.get("progress")
    assert "job&#45;002, running" in progress.proto.text


def test_without_results_the_page_shows_how_to_scan(visit: Visit):
    with served(FakeApi([])) as port:
        at = visit("overview", port=port)
        assert "Nothing has been analysed yet" in words(at)
        assert "No file passes these filters" in words(visit("overview", port=port, kind=["audio"]))


def test_text_from_files_is_no_markup(visit: Visit):
    hostile = file("a.jpg", "image", [detection("ocr", HOSTILE_NAME, 0.9)])
    with served(FakeApi([hostile])) as port:
        text = words(visit("overview", port=port, **{"as": "Tables"}))
    assert "<img" not in text and "&lt;img" in text


@pytest.mark.parametrize(
    ("last", "title", "columns", "begin", "end"),
    [
        (date(2026, 1, 1), "day", ["2026-01-01"], "2026-01-01", "2026-01-01"),
        (date(2026, 1, 3), "day", ["2026-01-01", "2026-01-02", "2026-01-03"], "2026-01-03", "2026-01-03"),
        (date(2026, 4, 1), "month", ["2026-01", "2026-02", "2026-03", "2026-04"], "2026-04-01", "2026-04-30"),
        (date(2033, 1, 1), "year", [str(year) for year in range(2026, 2034)], "2033-01-01", "2033-12-31"),
    ],
)
def test_many_days_are_summed_and_days_without_files_are_shown(
    last: date, title: str, columns: list[str], begin: str, end: str
):
    found = [Day(day=date(2026, 1, 1), files=3, failed=1), Day(day=last, files=2, failed=0)]
    drawn = figure.days(found, [])
    assert (drawn.title, [row.label for row in drawn.rows]) == (f"Scanned, by {title}", columns)
    assert drawn.rows[-1].to == [("where", f"scanned>={begin}"), ("where", f"scanned<={end}")]
    assert sum(row.value for row in drawn.rows) == 5


def test_what_was_left_out_leads_to_its_list_and_not_to_browse():
    group: dict[str, Any] = {"reason": "it is a link", "suffix": "", "count": 3, "examples": ("s3://b/<x>",)}
    shown = table(figure.left_out([LeftOutGroup(**group)], [("case", "harbour")]))
    assert links(shown) == [("3", {"case": ["harbour"], "reason": ["it is a link"]})]
    assert 'href="/left_out?' in shown and "such as s3://b/&lt;x&gt;" in shown
