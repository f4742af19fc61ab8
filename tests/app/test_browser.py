"""The app in a real browser. Most tests ask only what holds for any results; those named stand-in need its files."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cluster.records import asset_id
from tests.support.browser import (
    SHOWN,
    Visit,
    blurred,
    chromium,
    first_picture,
    focused,
    free_port,
    streamlit,
)
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import HOSTILE_LINE, HOSTILE_NAME
from tests.support.fakes.media import draw_picture
from tests.support.pages import served
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
FLOOR = "import streamlit as st\nst.write('hello-floor')\n"


@pytest.fixture(scope="module")
def stand_in_url() -> Iterator[str]:
    """The app before a stand-in API."""
    api = free_port()
    with served(FakeApi(), api), streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(api)) as url:
        yield url


@pytest.fixture(scope="module")
def app_url(stand_in_url: str) -> str:
    """The app before any API that has a page of results."""
    return stand_in_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, app_url: str) -> Iterator[Visit]:
    visit = Visit(browser, app_url)
    yield visit
    visit.close()
    assert visit.strangers == [], "the page asked somebody else than the app"
    assert visit.errors == []


def ready(page: Page) -> None:
    page.wait_for_function(SHOWN)


def test_tiles_are_blurred_until_the_viewer_says_otherwise(visit: Visit):
    page = visit.open()
    ready(page)
    place = first_picture(page)
    tile = page.locator(".tile").nth(place)
    assert blurred(page, place)
    tile.locator(".open").focus()
    page.keyboard.press("b")
    assert not blurred(page, place)
    page.keyboard.press("b")
    tile.hover()
    tile.locator(".eye").click()
    assert not blurred(page, place)
    page.get_by_text("Blur", exact=True).click()
    page.wait_for_function("() => !document.querySelector('[data-testid=stStatusWidget]')")
    expect(page.locator(".tiles")).not_to_have_class("tiles blur")
    assert not blurred(page, place)


def test_arrows_move_between_tiles_enter_opens_and_escape_returns(visit: Visit):
    page = visit.open()
    ready(page)
    page.locator(".tile .open").first.focus()
    first = focused(page)
    page.keyboard.press("ArrowRight")
    second = focused(page)
    assert second != first
    page.keyboard.press("ArrowLeft")
    assert focused(page) == first
    page.keyboard.press("ArrowDown")
    assert focused(page) not in (first, second)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".viewer h1")).to_be_visible()
    assert first in page.url
    page.keyboard.press("Escape")
    ready(page)
    page.wait_for_function("() => !location.pathname.includes('file')")
    assert focused(page) == first


def test_a_file_of_the_second_page_leads_back_to_it(visit: Visit):
    page = visit.open()
    ready(page)
    first = page.locator(".tile .open").first.get_attribute("title")
    page.get_by_text("Greyscale", exact=True).click()
    page.get_by_role("button", name="Page 2", exact=True).click()
    page.wait_for_url("**/?page=2")
    expect(page.locator(".tile .open").first).not_to_have_attribute("title", first)  # the address is there before them
    expect(page.locator(".tiles")).to_have_class("tiles blur grey")
    opened = page.locator(".tile .open").nth(1)
    name = opened.get_attribute("title")
    opened.click()
    expect(page.locator(".viewer h1")).to_have_text(name)
    expect(page.locator(".stage")).to_contain_class("grey")
    page.locator(".viewer .top").get_by_role("link", name="Browse").click()
    page.wait_for_url("**/?page=2")
    expect(page.locator(".tile .open").nth(1)).to_have_attribute("title", name)
    page.go_back()
    expect(page.locator(".viewer h1")).to_have_text(name)


def test_a_hit_opens_and_leads_back_to_its_search(visit: Visit):
    page = visit.open("/search")
    page.get_by_role("textbox", name="Search").fill("face")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=face")
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_url("**/search?q=face")
    expect(page.locator(".tile").first).to_be_visible()
    visit.errors = [error for error in visit.errors if "404" not in error]


def test_a_file_has_its_own_address_and_neighbours(visit: Visit):
    page = visit.open()
    ready(page)
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
    # on a page that is not the first, Streamlit looks for its server beside the page before it looks at the root
    visit.errors = [error for error in visit.errors if "404" not in error]


def test_a_filter_is_kept_in_the_address_and_taken_back_by_the_browser(visit: Visit):
    page = visit.open()
    ready(page)
    everything = page.get_by_role("heading", level=4).inner_text()
    page.locator(".facets label").first.click()
    page.wait_for_url("**/?*kind=*")
    expect(page.get_by_role("heading", level=4)).not_to_have_text(everything)
    narrowed = page.get_by_role("heading", level=4).inner_text()
    page.reload()
    expect(page.get_by_role("heading", level=4)).to_have_text(narrowed)
    page.locator(".facets label").first.click()
    expect(page.get_by_role("heading", level=4)).to_have_text(everything)


def test_every_picture_has_a_name_and_never_a_description(visit: Visit):
    page = visit.open()
    ready(page)
    names = page.locator(".tile img").evaluate_all("all => all.map(one => one.alt)")
    titles = page.locator(".tile .open:has(img)").evaluate_all("all => all.map(one => one.title)")
    assert names and names == titles


def test_the_pages_fit_a_narrow_window(browser: Browser, app_url: str):
    visit = Visit(browser, app_url, width=420)
    page = visit.open()
    ready(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420
    visit.close()


def test_the_gallery_is_drawn_within_a_second_of_an_empty_page(browser: Browser, app_url: str, tmp_path: Path):
    script = tmp_path / "floor.py"
    script.write_text(FLOOR)
    floors, galleries = [], []
    with streamlit(script) as floor_url:
        for _ in range(5):
            floors.append(seconds(browser, floor_url, lambda page: page.wait_for_selector("text=hello-floor")))
            galleries.append(seconds(browser, app_url, ready))
    print(f"floor {min(floors):.2f} s, gallery {min(galleries):.2f} s")
    assert min(galleries) <= min(floors) + 1.0


def seconds(browser: Browser, url: str, until) -> float:
    visit = Visit(browser, url)
    began = time.perf_counter()
    until(visit.open())
    taken = time.perf_counter() - began
    visit.close()
    return taken


def test_stand_in_hostile_names_and_lines_are_only_text(visit: Visit, stand_in_url: str):
    visit.url = stand_in_url
    page = visit.open()
    ready(page)
    tile = page.locator(".tile", has_text=HOSTILE_NAME[:20])
    expect(tile.locator(".name")).to_have_text(HOSTILE_NAME)
    tile.locator(".open").click()
    expect(page.locator(".viewer h1")).to_have_text(HOSTILE_NAME)
    expect(page.locator(".lines .text")).to_have_text(HOSTILE_LINE)
    expect(page.locator("td.text")).to_have_text(HOSTILE_LINE)
    assert page.locator("a[href*=evil], a[href^=javascript], img[src=x]").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_stand_in_a_mark_a_line_and_a_time_jump_to_a_second_before(visit: Visit, stand_in_url: str):
    visit.url = stand_in_url
    page = visit.open()
    ready(page)
    page.locator(".tile", has_text="clip_1.mp4").locator(".open").click()
    video = page.locator(".stage video")
    page.wait_for_function(f"() => ({FIND_VIDEO})()?.readyState > 0")
    for place, target in (
        (page.locator(".lines button", has_text="the ship leaves"), 2.0),
        (page.locator(".mark").last, 4.0),
        (page.locator("td.number button").last, 6.0),
    ):
        place.click()
        at = video.evaluate("one => { one.pause(); return one.currentTime }")
        assert target <= at < target + 1.0
    expect(page.locator(".box").first).to_be_visible()
    page.locator(".legend button", has_text="face").click()
    expect(page.locator("tr[data-detector=face]").first).to_be_hidden()


FIND_VIDEO = """() => { for (const one of document.querySelectorAll("*")) {
  const found = one.shadowRoot?.querySelector("video"); if (found) return found } }"""


def test_stand_in_an_upload_is_drawn_with_its_boxes(browser: Browser, stand_in_url: str):
    visit = Visit(browser, stand_in_url)
    page = visit.open("/analyze")
    picture = draw_picture(asset_id("x"), 640, 480, "x", 640)
    page.locator("input[type=file]").set_input_files(
        [{"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": picture}]
    )
    expect(page.locator(".viewer h1")).to_have_text("mine.jpg")
    page.wait_for_function(
        """() => [...document.querySelectorAll("*")].some(one =>
        one.shadowRoot?.querySelector(".stage img")?.naturalWidth === 640)"""
    )
    assert page.locator(".stage .box").count() == 2
    assert visit.strangers == []
    visit.close()


def test_stand_in_a_scan_shows_how_far_it_is(browser: Browser, stand_in_url: str):
    visit = Visit(browser, stand_in_url)
    page = visit.open("/jobs")
    page.get_by_role("textbox", name="Folders, buckets or files").fill("s3://evidence/case 7")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("was started")).to_be_visible()
    expect(page.get_by_text("of 120 files").first).to_be_visible()
    before = page.get_by_text("of 120 files").first.inner_text()
    expect(page.get_by_text("of 120 files").first).not_to_have_text(before)
    page.get_by_role("link", name="failed file").first.click()
    expect(page.locator(".tile .cross").first).to_be_visible()
    visit.close()


def test_stand_in_web_addresses_in_what_people_type_are_no_links(browser: Browser, stand_in_url: str):
    visit = Visit(browser, stand_in_url)
    page = visit.open("/jobs")
    written = (
        "https://evil.example/a www.evil.example b@evil.example <img src=x onerror=alert(1)> [c](http://evil.example)"
    )
    page.get_by_role("textbox", name="Folders, buckets or files").fill(written)
    page.get_by_role("button", name="Start", exact=True).click()
    shown = page.locator("strong", has_text="evil.example/a")
    expect(shown).to_be_visible()
    assert shown.inner_text().replace("\u2060", "") == written
    assert page.locator("a[href*=evil], img[src=x]").count() == 0
    visit.close()


def test_a_page_comes_back_by_itself_when_the_api_does(browser: Browser):
    port = free_port()
    with streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(port)) as url:
        visit = Visit(browser, url)
        page = visit.open()
        expect(page.get_by_text("raysift up")).to_be_visible()
        with served(FakeApi(), port):
            expect(page.locator(".tile").first).to_be_visible(timeout=15_000)
        visit.close()
