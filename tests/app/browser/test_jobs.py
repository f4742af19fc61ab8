"""The Jobs page in a browser, with the simulated jobs of the fake API."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Visit

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_fake_api_a_scan_shows_its_progress(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
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


def test_fake_api_a_bar_of_the_overview_opens_its_files(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/overview")
    kinds = page.get_by_label("Kinds, files")
    kinds.locator(".mark-rect path").nth(1).click(timeout=90_000)  # image is first, then audio; charts load slowly
    expect(page).to_have_url(re.compile(r"/\?kind=audio$"))
    expect(page.get_by_text("4 files")).to_be_visible()
    visit.close()


def test_fake_api_urls_in_input_are_not_linked(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/jobs")
    text = (
        "https://evil.example/a www.evil.example b@evil.example <img src=x onerror=alert(1)> [c](http://evil.example)"
    )
    page.get_by_role("textbox", name="Folders, buckets or files").fill(text)
    page.get_by_role("button", name="Start", exact=True).click()
    shown = page.locator("strong", has_text="evil.example/a")
    expect(shown).to_be_visible()
    assert shown.inner_text().replace("\u2060", "") == text
    assert page.locator("a[href*=evil], img[src=x]").count() == 0
    visit.close()
