"""The file page of a film or recording in a browser: lanes, frames, moments, its transcript."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from cluster.records import asset_id
from tests.support.browser import Visit
from tests.support.fakes.files import FOLDER

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
PLAYER = ".stage video"


@pytest.fixture
def film(visit: Visit, fake_api_url: str) -> Iterator[Page]:
    """The page of a film, whose header is loaded."""
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={asset_id(f'{FOLDER}/clip_1.mp4')}")
    expect(page.locator(PLAYER)).to_be_visible()
    expect(page.locator(PLAYER)).to_have_js_property("readyState", 4)
    # where it was sought to last, since it may play on
    page.locator(PLAYER).evaluate("video => { video.onseeking = () => { video.dataset.at = video.currentTime } }")
    yield page


def expect_second(player: Locator, second: int) -> None:
    """Expect that it was sought to a time in this second."""
    expect(player).to_have_attribute("data-at", re.compile(rf"^{second}(\.\d+)?$"))


def test_fake_api_a_click_seeks_to_a_second_before_the_detection(film: Page):
    player = film.locator(PLAYER)
    for place, second in (
        (film.locator(".lines button", has_text="the ship leaves"), 2),
        (film.locator(".lane", has_text="BREAKING NEWS").locator(".mark"), 4),
        (film.locator("td.number button").last, 6),
        (film.locator(".lines button", has_text="BREAKING NEWS").last, 4),
    ):
        place.click()
        expect_second(player, second)
    expect(film.locator(".box").first).to_be_visible()
    film.locator(".found button", has_text="face").click()
    expect(film.locator("tr[data-detector=face]").first).to_be_hidden()
    expect(film.locator(".lane", has_text="face")).to_be_hidden()


def test_fake_api_a_long_mark_leads_to_where_it_was_clicked_and_its_name_to_the_next_time(film: Page):
    player = film.locator(PLAYER)
    lane = film.locator(".lane", has_text="face")
    width = lane.locator(".track").bounding_box()["width"]
    lane.locator(".track").click(position={"x": width * 6.5 / 12, "y": 6})  # the film lasts 12 s, the face until 7 s
    expect_second(player, 5)
    film.locator(".lane .who", has_text="en").click()
    expect_second(player, 0)  # after the last time comes the first, a second before its beginning
    film.locator(".lane .who", has_text="en").click()
    expect_second(player, 2)


def test_fake_api_keys_step_frames_and_moments(film: Page):
    player = film.locator(PLAYER)
    film.locator("h1").click()
    film.keyboard.press("]")
    film.keyboard.press("]")
    expect_second(player, 4)  # "BREAKING NEWS" appears at 5 s
    expect(player).to_have_js_property("paused", True)
    film.keyboard.press("[")
    expect_second(player, 0)
    shown = film.locator(".exact")
    seen = [shown.inner_text()]
    for key in "...,":  # ten frames a second
        film.keyboard.press(key)
        expect(shown).not_to_have_text(seen[-1])
        expect(player).to_have_js_property("seeking", False)
        seen.append(shown.inner_text())
    times = [float(text.removeprefix("0:0")) for text in seen]
    assert times[1] < times[2] < times[3] > times[4]
    assert times[3] - times[0] <= 0.35


def test_fake_api_the_transcript_is_searched_without_playing(film: Page):
    player = film.locator(PLAYER)
    film.keyboard.press("/")
    field = film.get_by_role("searchbox", name="Find in: Said")
    field.fill("THE")
    expect(film.locator("mark")).to_have_text(["the", "the"])
    expect(film.locator(".find output")).to_have_text("1 of 2")
    field.press("Enter")
    expect(film.locator(".find output")).to_have_text("2 of 2")
    expect_second(player, 2)
    expect(player).to_have_js_property("paused", True)
    field.fill("no such word")
    expect(film.locator(".find output")).to_have_text("nothing")
    expect(film.locator("mark")).to_have_count(0)


def test_fake_api_a_hit_in_speech_is_heard_at_once_with_its_word_marked(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/search?q=harbour")
    page.locator(".tile", has_text="clip_1.mp4").locator(".open").click()
    player = page.locator(PLAYER)
    expect(player).to_have_js_property("paused", False)
    expect(page.locator("mark")).to_have_text("harbour")
    expect(page.get_by_role("button", name="From 0:00")).to_be_visible()


def test_fake_api_thresholds_hide_what_is_below_and_stay_for_the_next_file(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={asset_id(f'{FOLDER}/IMG_0003.jpg')}")
    expect(page.locator(".stage .box")).to_have_count(2)
    page.get_by_role("slider", name="Least score of face").fill("99")
    expect(page.locator(".found", has_text="face")).to_contain_text("face 0 of 1")
    expect(page.locator(".stage .box:visible")).to_have_count(1)
    expect(page.locator("tr[data-detector=face]")).to_be_hidden()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".viewer h1")).not_to_have_text("IMG_0003.jpg")
    page.go_back()
    expect(page.locator(".viewer h1")).to_have_text("IMG_0003.jpg")
    expect(page.locator(".found", has_text="face")).to_contain_text("face 0 of 1")


def test_fake_api_a_picture_is_zoomed_to_its_pixels_and_moved(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={asset_id(f'{FOLDER}/IMG_0003.jpg')}")
    image = page.locator(".stage img")
    expect(image).to_have_js_property("naturalWidth", 640)
    whole = image.bounding_box()
    page.keyboard.press("b")
    for _ in range(6):
        page.keyboard.press("+")
    stage = page.locator(".stage")
    expect(stage).to_have_class(re.compile("squares"))
    zoomed = image.bounding_box()
    assert zoomed["width"] > 4 * whole["width"]
    page.mouse.move(whole["x"] + 200, whole["y"] + 200)
    page.mouse.down()
    page.mouse.move(whole["x"] + 150, whole["y"] + 180)
    page.mouse.up()
    moved = image.bounding_box()
    assert (round(moved["x"] - zoomed["x"]), round(moved["y"] - zoomed["y"])) == (-50, -20)
    box = page.locator(".stage .box").first.bounding_box()
    share = (box["x"] - moved["x"]) / moved["width"]
    assert abs(share - 0.2) < 0.01  # boxes stay where they are in the picture
    page.keyboard.press("z")
    assert abs(image.bounding_box()["width"] - whole["width"]) < 1
