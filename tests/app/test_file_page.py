"""The page of one file, and searches that lead to it."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import Response

from cluster.records import asset_id
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import HOSTILE_NAME
from tests.support.pages import Visit, drawn, served, words


def test_a_file_page_has_detections_and_neighbours(visit: Visit):
    at = visit("file", asset=asset_id("s3://evidence/case 7/clip_1.mp4"), t="5")
    shown = drawn(at, "viewer")
    assert [lane["text"] for lane in shown["file"]["lanes"]] == ["face", "BREAKING NEWS", "en"]
    assert shown["file"]["start"] == 5.0
    assert asset_id("s3://evidence/case 7/clip_0.mp4") in shown["ways"]["previous"]
    assert asset_id("s3://evidence/case 7/clip_2.mp4") in shown["ways"]["next"]


def test_a_file_opened_by_its_address_has_the_files_of_its_folder_beside_it(visit: Visit):
    ways = drawn(visit("file", asset=asset_id("s3://evidence/case 7/IMG_0003.jpg")), "viewer")["ways"]
    assert ways["place"].endswith(" of 79")  # one file lies elsewhere
    assert ways["next"].endswith("in=under%3Ds3%253A%252F%252Fevidence%252Fcase%2B7%252F")
    assert ways["back"] == "/?under=s3%3A%2F%2Fevidence%2Fcase+7%2F"


def test_what_the_next_file_shows_is_fetched_ahead_but_not_its_original(visit: Visit):
    api, asked = FakeApi(), list[str]()

    @api.app.middleware("http")
    async def listen(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        asked.append(request.url.path)
        return await answer(request)

    with served(api) as port:
        at = visit("file", port=port, asset=asset_id("s3://evidence/case 7/IMG_0003.jpg"))
    next = parse_qs(urlsplit(drawn(at, "viewer")["ways"]["next"]).query)["asset"][0]
    assert {f"/v1/assets/{next}", f"/v1/assets/{next}/neighbours"} <= set(asked)
    assert f"/v1/assets/{next}/decision" not in asked  # it may change until then
    assert not [path for path in asked if path.endswith("/media")]


@pytest.mark.parametrize("time", ["inf", "nan", "1e999", "soon"])
def test_a_time_that_is_none_is_ignored(visit: Visit, time: str):
    at = visit("file", asset=asset_id("s3://evidence/case 7/clip_1.mp4"), t=time)
    assert drawn(at, "viewer")["file"]["start"] is None


def test_neighbours_follow_the_list_across_its_pages(visit: Visit):
    images = visit(kind=["image"])
    last = drawn(images, "gallery")["items"][-1]
    ways = drawn(visit("file", asset=last["id"], **{"in": "kind=image"}), "viewer")["ways"]
    assert ways["next"].endswith("in=kind%3Dimage%26page%3D2")
    assert ways["back"] == "/?kind=image"


def test_a_file_opened_from_a_search_links_back_to_it(visit: Visit):
    ways = drawn(visit("file", asset=asset_id("s3://evidence/case 7/clip_1.mp4"), **{"in": "q=harbour"}), "viewer")[
        "ways"
    ]
    assert (ways["where"], ways["back"]) == ("Search", "/search?q=harbour")
    assert ways["next"].endswith("in=q%3Dharbour")


@pytest.mark.parametrize("id", ["", "../../etc/passwd", "0" * 33])
def test_an_invalid_id_shows_a_message(visit: Visit, id: str):
    assert "names no file" in words(visit("file", asset=id))


def test_an_unknown_id_shows_a_message(visit: Visit):
    assert "There is no such file" in words(visit("file", asset="0" * 32)).replace("&#46;", ".")


def test_search_shows_how_each_file_matched(visit: Visit):
    at = visit("search", q="harbour")
    assert "7 files with these words" in words(at)
    assert drawn(at, "gallery")["items"][0]["note"].startswith("Exact words at 0:01: “we are live from the harbour”")


def test_search_finds_files_that_look_like_a_file(visit: Visit):
    at = visit("search", like=asset_id("s3://evidence/case 7/IMG_0003.jpg"))
    assert "40 like IMG" in words(at)
    assert "in=like%3D" in drawn(at, "gallery")["items"][0]["href"]


def test_a_failed_search_shows_the_reason_and_the_file_page_still_opens(visit: Visit):
    with served(FakeApi(searchable=False)) as port:
        searched = words(visit("search", port=port, q="harbour"))
        file = visit("file", port=port, asset=asset_id("s3://evidence/case 7/IMG_0003.jpg"))
    assert "index is being rebuilt" in searched
    assert "index is being rebuilt" in words(file)
    assert drawn(file, "viewer")["file"]["name"] == "IMG_0003.jpg"


def test_a_partial_search_shows_a_warning_above_its_hits(visit: Visit):
    note = "by meaning: the vector store does not answer (<b>ConnectError</b>)"
    with served(FakeApi(notes=(note,))) as port:
        at = visit("search", port=port, q="harbour")
    assert "7 files with these words" in words(at)
    (warning,) = at.warning
    assert "the vector store does not answer" in warning.value and "<b>" not in warning.value
    assert not visit("search", q="harbour").warning


def test_a_hostile_name_is_escaped(visit: Visit):
    at = visit("search", like=asset_id(f"s3://evidence/{HOSTILE_NAME}"))
    assert "<img" not in words(at) and "](javascript" not in words(at)
    assert "&#60;img" in words(at)
