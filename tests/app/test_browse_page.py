"""The Browse page, and the messages of all pages without an API or with invalid settings."""

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app.browsing import table
from cluster.api_types import Failure
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import detection, file
from tests.support.pages import Visit, drawn, served, words


def filters(at: AppTest) -> dict[str, list[dict[str, Any]]]:
    """The options of each filter that the page drew."""
    return {group["name"]: group["options"] for group in drawn(at, "facets")["groups"]}


def test_browse_shows_a_page_of_blurred_tiles(visit: Visit):
    at = visit()
    gallery = drawn(at, "gallery")
    assert "80 files" in words(at)
    assert len(gallery["items"]) == 60
    assert gallery["blur"] and gallery["colours"] == "grey"


def test_the_second_page_shows_the_remaining_files(visit: Visit):
    at = visit()
    first = {item["id"] for item in drawn(at, "gallery")["items"]}
    at.pagination(key="page").set_value(2).run()
    second = {item["id"] for item in drawn(at, "gallery")["items"]}
    assert len(second) == 20 and not first & second


def test_filters_in_the_url_are_applied(visit: Visit):
    at = visit(label=["face"], min_score="0.9", sort="name")
    names = [item["name"] for item in drawn(at, "gallery")["items"]]
    assert names == sorted(names, key=str.lower)
    assert all(any(chip["text"].startswith("face") for chip in item["chips"]) for item in drawn(at, "gallery")["items"])
    options = {group["name"]: group["options"] for group in drawn(at, "facets")["groups"]}
    assert [option["value"] for option in options["label"] if option["chosen"]] == ["face"]


def test_a_second_label_can_be_added_to_the_first(visit: Visit):
    options = filters(visit(detector_label=["face:face"]))["detector_label"]
    assert {"face:face", "nsfw:nsfw", "clip:street"} <= {option["value"] for option in options if option["count"]}
    assert [option["text"] for option in options if option["chosen"]] == ["face"]


def test_files_of_all_ticked_kinds_are_shown(visit: Visit):
    at = visit(kind=["video", "audio"])
    assert "8 files" in words(at)
    assert {item["kind"] for item in drawn(at, "gallery")["items"]} == {"video", "audio"}
    assert [option["value"] for option in filters(at)["kind"] if option["chosen"]] == ["audio", "video"]


def test_a_label_of_two_detectors_is_one_option_for_each_of_them(visit: Visit):
    by_ocr, by_clip = detection("ocr", "sign", 0.9), detection("clip", "sign", 0.8)
    api = FakeApi([file("a.jpg", "image", [by_ocr]), file("b.jpg", "image", [by_ocr, by_clip])])
    with served(api) as port:
        at = visit(port=port, detector_label=["clip:sign"])
    shown = {option["text"]: (option["count"], option["chosen"]) for option in filters(at)["detector_label"]}
    assert shown == {"sign (ocr)": (2, False), "sign (clip)": (1, True)}
    colors = {option["color"] for option in filters(at)["detector_label"]}
    assert len(colors) == 2
    assert [item["name"] for item in drawn(at, "gallery")["items"]] == ["b.jpg"]


def test_the_failed_files_of_one_job_are_listed(visit: Visit):
    api = FakeApi()
    api.jobs.begin(["s3://evidence/a", "s3://evidence/b"])
    with served(api) as port:
        at = visit(port=port, job=["job-001"], state=["failed"])
    assert {item["name"] for item in drawn(at, "gallery")["items"]} == {"truncated.jpg", "gone.mp4"}
    (job,) = filters(at)["job"]
    assert (job["value"], job["count"], job["chosen"]) == ("job-001", 2, True)


def test_only_failed_files_are_shown_with_their_reason(visit: Visit):
    items = drawn(visit(state=["failed"]), "gallery")["items"]
    assert {item["failed"] for item in items} == {"decode: the file ends early", "fetch: the bucket refused access"}


def test_filters_that_match_no_file_can_be_cleared(visit: Visit):
    at = visit(under="s3://elsewhere", min_score="0.5", label=["face"])
    assert "No file passes these filters" in words(at)
    at.button[0].click().run()
    assert "80 files" in words(at)
    assert not at.query_params


def test_a_changed_filter_returns_to_the_first_page(visit: Visit):
    at = visit(page="2")
    at.slider(key="min_score").set_value(0.2).run()
    assert at.pagination(key="page").value == 1
    assert len(drawn(at, "gallery")["items"]) == 60


def test_the_files_that_pass_the_filters_can_be_exported(visit: Visit):
    text = words(visit(detector_label=["face:face"], min_score="0.5", page="2", sort="name"))
    links = [html.unescape(link) for link in re.findall(r'href="(/api/export[^"]*)"', text)]
    queries = [parse_qs(urlsplit(link).query) for link in links]
    assert [query.pop("format") for query in queries] == [["csv"], ["jsonl"], ["parquet"], ["coco"]]
    assert queries == [{"detector_label": ["face:face"], "min_score": ["0.5"]}] * 4


def test_without_results_the_page_shows_how_to_scan(visit: Visit):
    with served(FakeApi([])) as port:
        at = visit(port=port)
    assert "Nothing has been analysed yet" in words(at)
    assert at.code[0].value == "raysift scan s3://bucket/folder"


@pytest.mark.parametrize(
    ("view", "params"), [("browse", {"min_score": "0.3"}), ("search", {"q": "exit"}), ("jobs", {}), ("cases", {})]
)
def test_when_the_api_goes_away_a_page_keeps_its_address_and_disables_its_controls(visit, view, params):
    def disabled(at: AppTest) -> set[bool]:
        controls = [*at.slider, *at.text_input, *at.text_area]
        return {control.disabled for control in controls if "filter" not in (control.key or "")}

    with served(FakeApi()) as port:
        at = visit(view, port=port, **params)
        before = dict(at.query_params)
        assert disabled(at) == {False}
    for _ in range(2):  # as long as it is away
        st.cache_data.clear()
        at.run()
        assert words(at).count("raysift up") == 1 and "Traceback" not in words(at)
        assert disabled(at) == {True} and all(button.disabled for button in at.button)
        assert dict(at.query_params) == before
    with served(FakeApi(), port):
        at.run()
        assert "raysift up" not in words(at) and disabled(at) == {False}


def test_an_unknown_setting_is_named(visit: Visit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAYSIFT_PROFIL", "x")
    assert "RAYSIFT&#95;PROFIL" in words(visit())


def test_a_row_of_the_table_has_findings_size_decision_job_and_date_or_why_it_failed():
    labels = [{"detector": "face", "label": "face", "score": 0.9, "count": 2}]
    found = file("a.jpg", "image", labels=labels, bytes=1200, job="job-1", decision="relevant")
    assert list(table.row(found).values()) == [
        "a.jpg",
        "image",
        1200,
        "face x2 0.90",
        "relevant",
        "job-1",
        "2026-11-22 10:00",
    ]
    broken = table.row(file("b.jpg", "image", errors=[Failure(step="decode", reason="it ends early")]))
    assert (broken["Findings"], broken["Decision"]) == ("decode: it ends early", "")
