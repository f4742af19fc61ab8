"""Search by a picture in the app: a scanned file or an upload, by appearance or by face."""

import io
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from app.client import ApiError
from cluster.records import asset_id
from tests.support.browser import Visit, chromium, free_port, streamlit
from tests.support.fakes.api import FakeApi
from tests.support.fakes.media import draw_picture
from tests.support.pages import client_of, drawn, served, words
from tests.support.paths import ROOT

FILM = asset_id("s3://evidence/case 7/clip_1.mp4")
UPLOAD = draw_picture(asset_id("x"), 640, 480, "x", 640)


def test_the_client_searches_by_image_or_face_of_a_file_or_an_upload():
    api = client_of(FakeApi())
    assert {hit.matched for hit in api.alike(FILM)} == {"image"}
    assert {hit.matched for hit in api.alike(FILM, by="faces")} == {"face"}
    assert {hit.matched for hit in api.alike_upload("a.jpg", io.BytesIO(UPLOAD), "image")} == {"image"}
    assert len(api.alike_upload("a.jpg", io.BytesIO(UPLOAD), "faces", limit=3)) == 3
    with pytest.raises(ApiError, match="no face in that picture"):
        api.alike_upload("noface.jpg", io.BytesIO(UPLOAD), "faces")


def test_a_url_can_search_by_face_and_its_hits_link_back_to_it(visit):
    at = visit("search", like=FILM, by="faces")
    assert "38 with a face of clip" in words(at)
    first = drawn(at, "gallery")["items"][0]
    assert first["note"] == "Same face at 0:00 · 0.80"
    assert "by%3Dfaces" in first["href"]


def test_neighbours_of_a_hit_are_hits_of_the_same_face_search(visit):
    ways = drawn(visit("file", asset=FILM, **{"in": f"like={FILM}&by=faces"}), "viewer")["ways"]
    assert (ways["where"], ways["back"]) == ("Search", f"/search?like={FILM}&by=faces")
    assert asset_id("s3://evidence/case 7/clip_0.mp4") in ways["previous"]


def test_only_a_file_with_a_face_has_a_link_to_the_face_search(visit):
    links = {link.proto.label for link in visit("file", asset=FILM).get("page_link")}
    assert {"Show all", "Same face"} <= links
    faceless = asset_id("s3://evidence/case 7/IMG_0002.jpg")
    assert "Same face" not in {link.proto.label for link in visit("file", asset=faceless).get("page_link")}


def test_an_expired_upload_has_to_be_chosen_again(visit):
    assert "Choose it again" in words(visit("search", picture="1"))


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visit]:
    api = free_port()
    with (
        served(FakeApi(), api),
        streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(api)) as url,
        chromium() as browser,
    ):
        visitor = Visit(browser, url)
        yield visitor
        assert visitor.strangers == []


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_an_upload_is_searched_by_image_then_by_face_and_a_hit_links_back(visitor: Visit):
    page = visitor.open("/search")
    page.get_by_role("button", name="By a picture").click()
    page.locator("input[type=file]").set_input_files([{"name": "me.jpg", "mimeType": "image/jpeg", "buffer": UPLOAD}])
    expect(page.get_by_role("heading", name="40 like me")).to_be_visible()
    page.get_by_text("The same face").click()
    expect(page.get_by_role("heading", name="38 with a face of me")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("input[type=file]")).to_be_hidden()
    expect(page.locator(".tile").first).to_contain_text("Same face")
    names = page.locator(".tile .name").all_inner_texts()
    page.locator(".tile .open").nth(1).click()
    expect(page.locator(".viewer h1")).to_have_text(names[1])
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer h1")).to_have_text(names[2])
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="38 with a face of me")).to_be_visible()
    page.get_by_role("textbox", name="Search").fill("harbour")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="files, best first")).to_be_visible()
    assert page.url.endswith("/search?q=harbour")


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_an_upload_without_a_face_shows_a_message_and_can_be_searched_by_image(visitor: Visit):
    page = visitor.open("/search")
    page.get_by_role("button", name="By a picture").click()
    page.get_by_text("The same face").click()
    page.locator("input[type=file]").set_input_files(
        [{"name": "noface.jpg", "mimeType": "image/jpeg", "buffer": UPLOAD}]
    )
    expect(page.get_by_text("there is no face in that picture")).to_be_visible()
    page.get_by_text("What looks like it").click()
    expect(page.get_by_role("heading", name="40 like noface")).to_be_visible()
