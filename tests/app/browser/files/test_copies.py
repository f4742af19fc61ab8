"""Files that the browser cannot show: copies that the API makes, and frames."""

import re

import pytest
from playwright.sync_api import Page, expect

from cluster.records import asset_id
from tests.support.browser import Visit
from tests.support.fakes.files import FOLDER

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def opened(visit: Visit, url: str, name: str, more: str = "", playable: bool = True) -> Page:
    """The page of a file whose original no browser knows. Without `playable` the API makes no copy either."""
    visit.url = url
    visit.page.route("**/api/media/*", lambda route: route.fulfill(body=b"no media", content_type="video/x-unknown"))
    if not playable:
        refused = "it has no decoder for its codec."
        visit.page.route("**/api/playable/*", lambda route: route.fulfill(status=422, body=refused))
    return visit.open(f"/file?asset={asset_id(f'{FOLDER}/{name}')}{more}")


@pytest.mark.parametrize(("name", "kind"), [("clip_1.mp4", "video"), ("call_1.wav", "audio")])
def test_fake_api_a_copy_plays_and_is_sought_in(visit: Visit, fake_api_url: str, name: str, kind: str):
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url) if "/playable/" in request.url else None)
    page = opened(visit, fake_api_url, name, "&t=4")
    player = page.locator(f".stage {kind}")
    expect(page.get_by_text("you see a copy of lower quality")).to_be_visible()
    expect(player).to_have_js_property("readyState", 4)
    assert asked[0].endswith("from_s=3.000")  # it begins a second before
    assert player.evaluate("player => Math.round(player.currentTime)") == 3
    page.locator(".lines button", has_text="we are live").first.click()
    expect(player).to_have_js_property("paused", False)
    player.evaluate("player => { player.currentTime = player.duration - 0.3 }")
    expect(player).to_have_js_property("ended", True)
    assert asked[1].endswith("from_s=0.000")
    visit.errors.clear()  # the original that could not be played


def test_fake_api_frames_are_shown_where_there_is_no_copy(visit: Visit, fake_api_url: str):
    page = opened(visit, fake_api_url, "clip_1.mp4", playable=False)
    expect(page.get_by_text("no copy can be made: it has no decoder for its codec.")).to_be_visible()
    page.locator(".lane", has_text="BREAKING NEWS").locator(".mark").click()
    frame = page.locator(".stage img")
    expect(frame).to_have_attribute("src", re.compile(r"/api/frame/.*at_s=5\."))
    expect(frame).to_have_js_property("naturalWidth", 320)
    expect(page.locator(".stage .box")).to_have_count(4)  # of the frames at 5 and 6 s
    visit.errors.clear()


def test_fake_api_a_picture_that_the_browser_does_not_know_is_a_copy(visit: Visit, fake_api_url: str):
    page = opened(visit, fake_api_url, "IMG_0003.jpg")
    expect(page.get_by_text("this is a copy, at most 4096 pixels")).to_be_visible()
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 640)
    expect(page.get_by_text("Canon EOS 5D")).to_be_visible()
    expect(page.get_by_text("48.208200, 16.373800")).to_be_visible()
    assert page.evaluate("() => window.hacked") is None  # as the picture's description wants it
    visit.errors.clear()


def test_fake_api_a_recording_without_a_copy_says_why(visit: Visit, fake_api_url: str):
    page = opened(visit, fake_api_url, "call_1.wav", playable=False)
    expect(page.get_by_text("cannot play this recording, and no copy can be made: it has no")).to_be_visible()
    visit.errors.clear()
