"""The file page in a browser: URL, neighbours, uploads. Tests named fake_api need the files of the fake API."""

import pytest
from playwright.sync_api import Browser, expect

from cluster.records import asset_id
from tests.support.browser import Visit, settled, wait_for_pictures
from tests.support.fakes.files import FOLDER, HOSTILE_LINE, HOSTILE_NAME
from tests.support.fakes.media import draw_picture

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_a_hit_opens_and_escape_returns_to_the_search(visit: Visit):
    page = visit.open("/search")
    page.get_by_role("textbox", name="Search").fill("face")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=face")
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_be_visible()
    settled(page)
    page.keyboard.press("Escape")
    page.wait_for_url("**/search?q=face")
    expect(page.locator(".tile").first).to_be_visible()


def test_a_file_has_a_url_and_neighbours(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
    names = page.locator(".tile .name").all_inner_texts()
    page.locator(".tile .open").nth(1).click()
    expect(page.locator(".viewer h1")).to_have_text(names[1])
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer h1")).to_have_text(names[2])
    page.get_by_role("link", name="Previous").click()
    expect(page.locator(".viewer h1")).to_have_text(names[1])
    address = page.url.removeprefix(visit.url)
    page.goto("about:blank")
    expect(visit.open(address).locator(".viewer h1")).to_have_text(names[1])


def test_fake_api_hostile_names_and_text_are_shown_literally(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open()
    wait_for_pictures(page)
    tile = page.locator(".tile", has_text=HOSTILE_NAME[:20])
    expect(tile.locator(".name")).to_have_text(HOSTILE_NAME)
    tile.locator(".open").click()
    expect(page.locator(".viewer h1")).to_have_text(HOSTILE_NAME)
    expect(page.locator(".lines .text")).to_have_text(HOSTILE_LINE)
    expect(page.locator("td.text")).to_have_text(HOSTILE_LINE)
    assert page.locator("a[href*=evil], a[href^=javascript], img[src=x]").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_fake_api_an_upload_is_drawn_with_its_boxes(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/analyze")
    picture = draw_picture(asset_id("x"), 640, 480, "x", 640)
    page.locator("input[type=file]").set_input_files(
        [{"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": picture}]
    )
    expect(page.locator(".viewer h1")).to_have_text("mine.jpg")
    page.wait_for_function(
        """() => [...document.querySelectorAll("*")].some(element =>
        element.shadowRoot?.querySelector(".stage img")?.naturalWidth === 640)"""
    )
    assert page.locator(".stage .box").count() == 2
    assert visit.strangers == []
    visit.close()


def test_fake_api_a_position_is_a_point_in_a_map_for_which_nobody_is_asked(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={asset_id(f'{FOLDER}/IMG_0003.jpg')}")
    expect(page.get_by_text("48.2082° N, 16.3738° E")).to_be_visible()
    map_of_it = page.get_by_test_id("stVegaLiteChart")
    expect(map_of_it.locator("canvas, svg").first).to_be_visible()
    page.keyboard.press("ArrowRight")  # the map of one file is not shown with another
    expect(page.locator(".viewer h1")).not_to_have_text("IMG_0003.jpg")
    expect(map_of_it).to_have_count(1)
    assert visit.strangers == []


def test_fake_api_keys_decide_move_and_take_back_but_not_while_a_note_is_written(visit: Visit):
    page = visit.open("/")
    page.get_by_role("link", name="Review", exact=True).last.click()  # the one beside the filters
    heading = page.locator(".viewer h1")
    expect(heading).to_be_visible()
    expect(page.get_by_text("0 of 80 files decided")).to_be_visible()
    first = heading.inner_text()
    page.get_by_label("Note").fill("at 1")
    page.get_by_label("Note").press("2")
    expect(page.get_by_label("Note")).to_have_value("at 12")
    heading.click()  # the focus leaves the note
    page.keyboard.press("1")
    expect(heading).not_to_have_text(first)
    expect(page.get_by_text("1 of 80 files decided")).to_be_visible()
    second = heading.inner_text()
    page.keyboard.press("ArrowRight")
    expect(heading).not_to_have_text(second)
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(second)
    page.keyboard.press("u")
    expect(heading).to_have_text(first)
    expect(page.get_by_text("0 of 80 files decided")).to_be_visible()
    expect(page.get_by_text("“at 12”")).to_be_visible()
