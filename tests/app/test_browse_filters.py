"""The Browse page: conditions that combine, the order by a label's score, a list that is held still, selected files."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from app.browsing import builder, reasons
from cluster.api_queries import AssetFilter
from cluster.api_types import Failure
from cluster.filters.conditions import Detected, Fact, parse
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import detection, file, picture
from tests.support.pages import Visit, drawn, served, words


def names(at: AppTest) -> list[str]:
    return [item["name"] for item in drawn(at, "gallery")["items"]]


def test_conditions_of_the_url_are_applied_shown_in_words_and_followed_by_the_counts(visit: Visit):
    at = visit(where=["face:face>=0.9|whisper:~harbour", "!ocr:", "width>=640|kind=audio"])
    assert drawn(at, "conditions")["conditions"] == [
        ["face, score from 0.90", "“harbour” by whisper"],
        ["not: anything by ocr"],
        ["width from 640 px", "kind is audio"],
    ]
    assert {"call_0.wav", "IMG_0005.jpg"} <= set(names(at))
    chips = {chip["text"] for item in drawn(at, "gallery")["items"] for chip in item["chips"]}
    groups = {group["name"]: group["options"] for group in drawn(at, "facets")["groups"]}
    options = {option["value"]: (option["count"], option["condition"]) for option in groups["detector_label"]}
    assert "text" not in chips and "ocr:text" not in options
    assert options["whisper:en"] == (4, "whisper:en")
    assert {option["condition"] for option in groups["kind"]} == {"kind=image", "kind=audio"}


def test_failures_are_grouped_by_reason_and_several_reasons_can_be_ticked(visit: Visit):
    lost = [
        file(f"{n}.jpg", "image", errors=[Failure(step="fetch", reason=f"'s3://b/{n}' gave no answer in {n} s")])
        for n in range(3)
    ]
    torn = file("torn.jpg", "image", errors=[Failure(step="decode", reason="the file ends early")])
    with served(FakeApi([*lost, torn, picture(1)])) as port:

        def shown(at: AppTest) -> dict[str, tuple[int, bool]]:
            groups = {group["name"]: group["options"] for group in drawn(at, "facets")["groups"]}
            return {option["text"]: (option["count"], option["chosen"]) for option in groups["reason"]}

        assert shown(visit(port=port)) == {
            "fetch: … gave no answer in N s": (3, False),
            "decode: the file ends early": (1, False),
        }
        at = visit(port=port, where=["error~the file ends early"])
        assert shown(at)["fetch: … gave no answer in N s"] == (3, False) and names(at) == ["torn.jpg"]
        at = visit(port=port, where=["error~the file ends early|error~gave no answer in"])
        assert set(shown(at).values()) == {(3, True), (1, True)} and "4 files" in words(at)


@pytest.mark.parametrize(
    ("where", "reason", "on", "expected"),
    [
        (["face:"], "error~a", True, ("face:", "error~a")),
        (["error~a", "face:"], "error~b", True, ("face:", "error~a|error~b")),
        (["error~a|error~b"], "error~a", False, ("error~b",)),
        (["error~a"], "error~a", False, ()),
        (["!error~a", "error~", "error~x|face:"], "error~a", True, ("!error~a", "error~", "error~x|face:", "error~a")),
    ],
)
def test_ticked_reasons_are_alternatives_of_one_condition(where, reason, on, expected):
    assert reasons.toggled(where, reason, on) == expected
    assert all(parse(text) for text in expected)


def test_files_are_sorted_by_the_score_of_the_chosen_label(visit: Visit):
    at = visit(sort="score", score_of="nsfw:nsfw")
    scores = [
        float(chip["score"])
        for item in drawn(at, "gallery")["items"][:14]
        for chip in item["chips"]
        if chip["text"] == "nsfw"
    ]
    assert len(scores) == 14 and scores == sorted(scores, reverse=True)
    at.selectbox(key="score of nsfw:nsfw").set_value("ocr:text").run()
    assert at.query_params["score_of"] == "ocr:text"
    assert drawn(at, "gallery")["items"][0]["chips"][0]["text"] == "text"


def test_labels_below_what_their_detector_keeps_are_hidden_until_asked_for(visit: Visit):
    weak = file("a.jpg", "image", [detection("clip", "nematode", 0.03), detection("clip", "web site", 0.5)])
    with served(FakeApi([weak])) as port:
        at = visit(port=port)
        assert [chip["text"] for chip in drawn(at, "gallery")["items"][0]["chips"]] == ["web site"]
        assert "nematode" not in str(drawn(at, "facets"))
        at = visit(port=port, weak="true")
    assert len(drawn(at, "gallery")["items"][0]["chips"]) == 2 and "nematode" in str(drawn(at, "facets"))


def test_the_list_does_not_move_when_files_arrive_until_the_user_refreshes(visit: Visit):
    api = FakeApi([picture(1), picture(2)])
    with served(api) as port:
        at = visit(port=port)
        before = names(at)
        api.add([picture(3), picture(4), picture(5)])
        at.run()
        assert names(at) == before and "2 files" in words(at)
        (refresh,) = [button for button in at.button if button.key == "refresh"]
        assert refresh.label == "3 new files: refresh"
        refresh.click().run()
        of, _ = at.session_state["held"]
        at.session_state["held"] = (of, "0" * 32)  # as if the file up to which the list is held had been deleted
        at.run()
        assert len(names(at)) == 5 and not [button for button in at.button if button.key == "refresh"]


def test_selected_files_are_exported_and_reported(visit: Visit):
    at = visit(where=["nsfw:"])
    (select_all,) = [button for button in at.button if button.label == "Select all 14"]
    select_all.click().run()
    ids = [item["id"] for item in drawn(at, "gallery")["items"]]
    assert sorted(drawn(at, "gallery")["picked"]) == sorted(ids) and "14 selected" in words(at)
    links = [html.unescape(link) for link in re.findall(r'href="(/api/export[^"]*)"', words(at))]
    assert [set(parse_qs(urlsplit(link).query)["id"]) for link in links] == [set(ids)] * 4
    reports = [
        parse_qs(urlsplit(html.unescape(link)).query) for link in re.findall(r'href="(/api/report[^"]*)"', words(at))
    ]
    assert [(report["format"], report["pictures"], set(report["id"])) for report in reports] == [
        (["pdf"], ["blurred"], set(ids)),
        (["html"], ["blurred"], set(ids)),
    ]
    at.toggle(key="export selected").set_value(False).run()
    assert "where=nsfw%3A" in words(at) and "id=" not in re.findall(r'href="(/api/export[^"]*)"', words(at))[0]


@pytest.mark.parametrize(
    ("parts", "negated", "place", "expected"),
    [
        ([Detected("ocr")], False, 0, ("face:", "ocr:")),
        ([Detected("ocr")], True, 0, ("face:", "!ocr:")),
        ([Detected("ocr")], False, 1, ("face:|ocr:",)),
        ([Fact("width", ">=", 10), Fact("width", "<=", 20)], False, 0, ("face:", "width>=10", "width<=20")),
        ([Fact("width", ">=", 10), Fact("width", "<=", 20)], True, 0, ("face:", "!width>=10|!width<=20")),
        ([Fact("width", ">=", 10), Fact("width", "<=", 20)], False, 1, ("face:|width>=10", "face:|width<=20")),
        ([Detected("face")], False, 0, ("face:",)),
    ],
)
def test_the_form_adds_a_condition_or_an_alternative(parts, negated, place, expected):
    assert builder.added(("face:",), parts, negated, place) == expected
    assert AssetFilter(where=expected)
