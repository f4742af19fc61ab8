"""The gallery in a browser: tiles, keys, filters, pages. The tests need no particular results."""

import statistics
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Visit, blurred, first_picture, focused, free_port, streamlit, wait_for_pictures
from tests.support.fakes.api import FakeApi
from tests.support.pages import served
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
FLOOR = "import streamlit as st\nst.write('hello-floor')\n"


def test_tiles_are_blurred_until_revealed(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
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
    tile.locator(".eye").click()
    assert blurred(page, place)


def test_arrow_keys_move_the_focus_enter_opens_and_escape_returns(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
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
    wait_for_pictures(page)
    page.wait_for_function("() => !location.pathname.includes('file')")
    assert focused(page) == first


def test_a_file_of_the_second_page_links_back_to_it(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
    first = page.locator(".tile .open").first.get_attribute("title")
    page.get_by_role("button", name="Page 2", exact=True).click()
    page.wait_for_url("**/?page=2")
    expect(page.locator(".tile .open").first).not_to_have_attribute("title", first)  # the URL changes before the tiles
    opened = page.locator(".tile .open").nth(1)
    name = opened.get_attribute("title")
    opened.click()
    expect(page.locator(".viewer h1")).to_have_text(name)
    page.locator(".viewer .top").get_by_role("link", name="Browse").click()
    page.wait_for_url("**/?page=2")
    expect(page.locator(".tile .open").nth(1)).to_have_attribute("title", name)
    page.go_back()
    expect(page.locator(".viewer h1")).to_have_text(name)


def test_a_filter_is_kept_in_the_url_and_can_be_removed(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
    everything = page.get_by_role("heading", level=4).inner_text()
    page.locator(".facets label").first.click()
    page.wait_for_url("**/?*kind=*")
    expect(page.get_by_role("heading", level=4)).not_to_have_text(everything)
    narrowed = page.get_by_role("heading", level=4).inner_text()
    page.reload()
    expect(page.get_by_role("heading", level=4)).to_have_text(narrowed)
    page.locator(".facets label").first.click()
    expect(page.get_by_role("heading", level=4)).to_have_text(everything)


def test_the_alt_text_of_a_picture_is_the_file_name(visit: Visit):
    page = visit.open()
    wait_for_pictures(page)
    names = page.locator(".tile img").evaluate_all("all => all.map(image => image.alt)")
    titles = page.locator(".tile .open:has(img)").evaluate_all("all => all.map(link => link.title)")
    assert names and names == titles


def test_the_pages_fit_a_narrow_window(browser: Browser, app_url: str):
    visit = Visit(browser, app_url, width=420)
    page = visit.open()
    wait_for_pictures(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 420
    visit.close()


@pytest.mark.alone  # it measures times
def test_the_gallery_takes_about_twice_as_long_as_an_empty_page(browser: Browser, app_url: str, tmp_path: Path):
    script = tmp_path / "floor.py"
    script.write_text(FLOOR)
    floors, galleries = [], []
    with streamlit(script) as floor_url:
        for _ in range(5):
            floors.append(seconds(browser, floor_url, lambda page: page.wait_for_selector("text=hello-floor")))
            galleries.append(seconds(browser, app_url, wait_for_pictures))
    floor_s, gallery_s = statistics.median(floors), statistics.median(galleries)  # the least is one lucky round's
    print(f"floor {floor_s:.2f} s, gallery {gallery_s:.2f} s")
    assert gallery_s <= 2.2 * floor_s  # of Streamlit, which takes a second on a fast machine


def seconds(browser: Browser, url: str, until) -> float:
    """The seconds from opening the URL in a new context until `until(page)` returns."""
    visit = Visit(browser, url)
    began = time.perf_counter()
    until(visit.open())
    taken = time.perf_counter() - began
    visit.close()
    return taken


def test_a_page_reloads_itself_when_the_api_is_back(browser: Browser):
    port = free_port()
    with streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(port)) as url:
        visit = Visit(browser, url)
        page = visit.open()
        expect(page.get_by_text("raysift up")).to_be_visible()
        with served(FakeApi(), port):
            expect(page.locator(".tile").first).to_be_visible(timeout=15_000)
        visit.close()


def test_fake_api_a_reviewer_excludes_a_label_demands_another_and_selects_files(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open()
    wait_for_pictures(page)
    face = page.locator(".facets .row", has=page.get_by_text("face", exact=True)).last
    face.hover()
    face.get_by_role("button", name="Only files without face").click()
    expect(page.locator(".conditions .chip")).to_have_count(1)
    page.get_by_test_id("stPopoverButton").filter(has_text="Filter").click()
    page.get_by_role("combobox", name="Filter by").fill("Words")
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Words").fill("exit")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".conditions li")).to_contain_text(["not: face", "“exit” in a text or speech"])
    expect(page.get_by_role("heading", name="12 files")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".tile .open").first.focus()
    page.keyboard.press("x")
    page.locator(".tile .open").nth(2).focus()
    page.keyboard.press("Shift+X")
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Remove not: face").click()
    expect(page.get_by_role("heading", name="24 files")).to_be_visible()
    visit.close()
    assert visit.strangers == [] and visit.errors == []
