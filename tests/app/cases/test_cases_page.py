"""The Cases page, the choice of a case, and what it limits on the other pages."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from app import address
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.pages import Visit, drawn, served, words

CLIPS = [f"{FOLDER}/clip_1.mp4", f"{FOLDER}/clip_2.mp4"]


@pytest.fixture(scope="module")
def api() -> FakeApi:
    """An API with two cases, one of them closed."""
    api = FakeApi()
    api.cases.store.add("films", "The films", CLIPS, "Ann")
    api.cases.store.add("old", "", ["s3://old"], "Ann")
    api.cases.store.change("old", closed=True)
    return api


@pytest.fixture(scope="module")
def port(api: FakeApi) -> Iterator[int]:
    with served(api) as port:
        yield port


def test_the_first_page_is_the_list_of_cases_with_their_numbers_of_files(visit: Visit, port: int):
    at = visit(port=port)
    assert all(text in words(at) for text in ("The films", "2 files", "old", "0 files", "All files", "80 files"))
    links = [parse_qs(link.proto.query_string) for link in at.get("page_link")]
    assert links == [{"case": [name]} for name in ("films", "films", "old", "old", "*", "*")]


def test_a_case_limits_browse_and_stays_in_the_links_to_files(visit: Visit, port: int):
    at = visit(port=port, case="films")
    assert {item["name"] for item in drawn(at, "gallery")["items"]} == {"clip_1.mp4", "clip_2.mp4"}
    for item in drawn(at, "gallery")["items"]:
        params = parse_qs(urlsplit(item["href"]).query)
        assert (params["case"], params["in"]) == (["films"], ["case=films"])
    assert at.selectbox(key="case_choice").value == "films"
    at.selectbox(key="case_choice").set_value(address.ALL_FILES).run()
    assert "80 files" in words(at) and at.query_params["case"] == address.ALL_FILES


def test_a_case_stays_chosen_on_the_next_page(visit: Visit, port: int):
    at = visit(port=port, case="films")
    at.query_params.clear()
    at.switch_page("views/overview.py").run()
    assert "2 files" in words(at) and at.query_params["case"] == "films"


def test_an_unknown_case_is_named(visit: Visit, port: int):
    assert "there is no case" in words(visit(port=port, case="nobody"))


def test_a_case_is_made_in_the_app(visit: Visit, port: int, api: FakeApi):
    at = visit("cases", port=port)
    at.text_input[0].set_value("Not a name")
    at.button(key="make").click().run()
    assert "lower-case letters" in words(at)
    at.text_input[0].set_value("calls")
    at.text_area[0].set_value(f"{FOLDER}/call_1.wav\n\n")
    at.button(key="make").click().run()
    made = api.cases.store.get("calls")
    assert made is not None and made.folders == (f"{FOLDER}/call_1.wav",)
    assert api.cases.store.remove("calls")
