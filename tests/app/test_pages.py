import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import streamlit as st
import uvicorn
from streamlit.testing.v1 import AppTest

from app import draw
from tests.support.fake_api import HOSTILE_NAME, REPORT, FakeApi, asset_id, draw_picture
from tests.support.paths import ROOT

Visit = Callable[..., AppTest]


@contextmanager
def served(api: FakeApi) -> Iterator[int]:
    """The stand-in API behind a port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.app, log_level="critical", lifespan="off"))
        listener.listen()
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(FakeApi()) as port:
        yield port


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, port: int) -> Visit:
    """Open a page with parameters, of the usual API or of that on another port."""

    def visit(view: str = "browse", port: int = port, **params: str | list[str]) -> AppTest:
        monkeypatch.setenv("RAYSIFT_API__PORT", str(port))
        st.cache_data.clear()
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
        if view != "browse":
            at.run()
            at.switch_page(f"views/{view}.py")
        for name, value in params.items():
            at.query_params[name] = value
        at.run()
        assert not at.exception
        return at

    return visit


def drawn(at: AppTest, name: str) -> dict[str, Any]:
    """What a component was given to draw."""
    (found,) = (
        element.proto for element in at.get("bidi_component") if element.proto.component_name == f"raysift_{name}"
    )
    return json.loads(found.json)


def words(at: AppTest) -> str:
    """All that Streamlit itself wrote on the page."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    return "\n".join(element.value for elements in kinds for element in elements)


def test_browse_shows_a_page_of_tiles_blurred(visit: Visit):
    at = visit()
    gallery = drawn(at, "gallery")
    assert "80 files" in words(at)
    assert len(gallery["items"]) == 60
    assert gallery["blur"] and not gallery["grey"]


def test_the_second_page_shows_the_rest(visit: Visit):
    at = visit()
    first = {item["id"] for item in drawn(at, "gallery")["items"]}
    at.pagination(key="page").set_value(2).run()
    second = {item["id"] for item in drawn(at, "gallery")["items"]}
    assert len(second) == 20 and not first & second


def test_an_address_with_filters_shows_what_they_say(visit: Visit):
    at = visit(label=["face"], min_score="0.9", sort="name")
    names = [item["name"] for item in drawn(at, "gallery")["items"]]
    assert names == sorted(names)
    assert all(any(chip["text"].startswith("face") for chip in item["chips"]) for item in drawn(at, "gallery")["items"])
    options = {group["name"]: group["options"] for group in drawn(at, "facets")["groups"]}
    assert [option["value"] for option in options["label"] if option["chosen"]] == ["face"]


def test_a_second_label_can_be_added_to_the_first(visit: Visit):
    labels = next(group for group in drawn(visit(label=["face"]), "facets")["groups"] if group["name"] == "label")
    assert {"face", "nsfw", "street"} <= {option["value"] for option in labels["options"] if option["count"]}


def test_only_failed_files_are_shown_with_their_reason(visit: Visit):
    items = drawn(visit(state=["failed"]), "gallery")["items"]
    assert {item["failed"] for item in items} == {"decode: the file ends early", "fetch: the bucket refused access"}


def test_a_filter_that_nothing_passes_can_be_cleared(visit: Visit):
    at = visit(under="s3://elsewhere", min_score="0.5", label=["face"])
    assert "No file passes these filters" in words(at)
    at.button[0].click().run()
    assert "80 files" in words(at)
    assert not at.query_params


def test_changing_a_filter_goes_back_to_the_first_page(visit: Visit):
    at = visit(page="2")
    at.slider(key="min_score").set_value(0.2).run()
    assert at.pagination(key="page").value == 1
    assert len(drawn(at, "gallery")["items"]) == 60


def test_an_empty_store_says_how_to_scan(visit: Visit):
    with served(FakeApi([])) as port:
        at = visit(port=port)
    assert "Nothing has been analysed yet" in words(at)
    assert at.code[0].value == "raysift scan s3://bucket/folder"


@pytest.mark.parametrize("view", ["browse", "jobs", "search"])
def test_without_an_api_each_page_says_what_to_do(visit: Visit, view: str):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        at = visit(view, port=nobody.getsockname()[1], **({"q": "x"} if view == "search" else {}))
    assert "raysift up" in words(at)
    assert "Traceback" not in words(at)


def test_wrong_settings_are_named(visit: Visit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAYSIFT_PROFIL", "x")
    assert "RAYSIFT&#95;PROFIL" in words(visit())


def test_a_file_shows_what_was_found_in_it_and_its_neighbours(visit: Visit):
    at = visit("file", asset=asset_id("s3://evidence/case 7/clip_1.mp4"), t="5")
    shown = drawn(at, "viewer")
    assert [lane["detector"] for lane in shown["file"]["lanes"]] == ["face", "ocr", "whisper"]
    assert shown["file"]["start"] == 5.0
    assert asset_id("s3://evidence/case 7/clip_0.mp4") in shown["ways"]["previous"]
    assert asset_id("s3://evidence/case 7/clip_2.mp4") in shown["ways"]["next"]


def test_neighbours_are_those_of_the_list_and_reach_over_its_pages(visit: Visit):
    images = visit(kind=["image"])
    last = drawn(images, "gallery")["items"][-1]
    ways = drawn(visit("file", asset=last["id"], **{"in": "kind=image"}), "viewer")["ways"]
    assert ways["next"].endswith("in=kind%3Dimage%26page%3D2")
    assert ways["back"] == "/?kind=image"


def test_a_file_opened_from_a_search_leads_back_to_it(visit: Visit):
    ways = drawn(visit("file", asset=asset_id("s3://evidence/case 7/clip_1.mp4"), **{"in": "q=harbour"}), "viewer")[
        "ways"
    ]
    assert (ways["where"], ways["back"]) == ("Search", "/search?q=harbour")
    assert ways["next"].endswith("in=q%3Dharbour")


@pytest.mark.parametrize("id", ["", "../../etc/passwd", "0" * 33])
def test_an_address_that_names_no_file_says_so(visit: Visit, id: str):
    assert "names no file" in words(visit("file", asset=id))


def test_a_file_that_is_gone_is_a_sentence(visit: Visit):
    assert "There is no such file" in words(visit("file", asset="0" * 32)).replace("&#46;", ".")


def test_search_says_how_each_file_matched(visit: Visit):
    at = visit("search", q="harbour")
    assert "7 files, best first" in words(at)
    assert drawn(at, "gallery")["items"][0]["note"].startswith("Spoken at 0:01: “we are live from the harbour”")


def test_search_finds_what_looks_like_a_file(visit: Visit):
    at = visit("search", like=asset_id("s3://evidence/case 7/IMG_0003.jpg"))
    assert "40 like IMG" in words(at)
    assert "in=like%3D" in drawn(at, "gallery")["items"][0]["href"]


def test_a_search_that_cannot_be_made_says_why_and_the_file_page_stays(visit: Visit):
    with served(FakeApi(searchable=False)) as port:
        searched = words(visit("search", port=port, q="harbour"))
        file = visit("file", port=port, asset=asset_id("s3://evidence/case 7/IMG_0003.jpg"))
    assert "index is being rebuilt" in searched
    assert "index is being rebuilt" in words(file)
    assert drawn(file, "viewer")["file"]["name"] == "IMG_0003.jpg"


def test_a_hostile_name_is_written_letter_by_letter(visit: Visit):
    at = visit("search", like=asset_id(f"s3://evidence/{HOSTILE_NAME}"))
    assert "<img" not in words(at) and "](javascript" not in words(at)
    assert "&#60;img" in words(at)


def test_an_upload_shows_what_every_detector_found(visit: Visit):
    at = visit("analyze")
    at.file_uploader[0].upload("me.png", picture())
    at.run()
    assert not at.exception
    assert [line["text"] for line in drawn(at, "viewer")["file"]["read"]] == ["Exit 3 north"]
    assert drawn(at, "viewer")["file"]["source"].endswith(".png")
    assert "Took" in words(at)


def test_an_upload_that_cannot_be_read_is_a_sentence(visit: Visit):
    at = visit("analyze")
    at.file_uploader[0].upload("paper.pdf", b"%PDF-1.4")
    at.run()
    assert "could not be analysed" in words(at)
    assert not at.exception


def test_a_scan_is_started_and_listed(visit: Visit):
    at = visit("jobs")
    at.text_area[0].set_value("s3://evidence/case 7\n\n")
    at.button(key="start").click().run()
    assert "was started" in words(at)
    assert any("evidence" in element.value for element in at.markdown)


@pytest.mark.parametrize(("written", "told"), [("  ", "Say which folder"), ("s3://nowhere", "no such bucket")])
def test_a_scan_of_nothing_is_refused_with_a_sentence(visit: Visit, written: str, told: str):
    at = visit("jobs")
    at.text_area[0].set_value(written)
    at.button(key="start").click().run()
    assert told in words(at)


def test_an_urgent_scan_says_so(visit: Visit):
    api = FakeApi()
    with served(api) as port:
        at = visit("jobs", port=port)
        at.text_area[0].set_value("s3://evidence/now")
        at.selectbox[0].set_value("urgent")
        at.button(key="start").click().run()
        assert (api.jobs[0]["uris"], api.jobs[0]["priority"]) == (["s3://evidence/now"], "urgent")


def press(at: AppTest, change: str, job: str) -> AppTest:
    at.button(key=f"yes {change} {job}").click().run()
    assert not at.exception
    return at


def test_a_running_job_can_be_cancelled_and_then_resumed(visit: Visit):
    api = FakeApi()
    job = api.began(["s3://evidence"], state="blocked", message="waits for ocr")
    with served(api) as port:
        at = visit("jobs", port=port)
        assert "waits for ocr" in words(at)
        assert not [button for button in at.button if button.key and "resume" in button.key]
        press(at, "cancel", job)
        assert api.jobs[0]["state"] == "cancelled" and "job&#45;001" in at.toast[0].value
        press(visit("jobs", port=port), "resume", job)
        assert api.jobs[0]["state"] == "waiting"


def test_the_failed_files_of_a_job_are_done_again_as_a_new_one(visit: Visit):
    api = FakeApi()
    job = api.began(["s3://evidence"], "bulk")
    api.jobs[0]["began"] -= 60
    with served(api) as port:
        at = press(visit("jobs", port=port), "retry-failed", job)
    assert [one["priority"] for one in api.jobs] == ["bulk", "bulk"]
    assert "job&#45;002" in at.toast[0].value


def test_a_change_that_comes_too_late_is_a_sentence_and_the_page_stays(visit: Visit):
    api = FakeApi()
    job = api.began(["s3://evidence"], state="running", stubborn=True)
    with served(api) as port:
        at = press(visit("jobs", port=port), "cancel", job)
    assert "nothing to cancel" in at.toast[0].value and "evidence" in words(at)


def test_a_report_tells_what_each_detector_took_and_why_files_failed():
    lines = draw.spent(REPORT).splitlines()
    assert lines[2] == "| nsfw | 120 | 25% | 12.5 | 3.0 | 0.50 |"
    assert "Cost" not in draw.spent({**REPORT, "cost": None})
    assert draw.speed(REPORT) == (
        "6.00 files a second · 1.5 MB a second · 90 of 300 frames were like the one before · "
        "cost 1.75, 14.58 per 1,000 files"
    )
    (reason,) = draw.reasons(REPORT).splitlines()[2:]
    assert reason.startswith("| 3 | decode | it ends early at N | ") and "<img" not in reason and "](" not in reason


def picture() -> bytes:
    return draw_picture({"id": "ab" * 16, "width": 64, "height": 48, "name": "me"}, 64)
