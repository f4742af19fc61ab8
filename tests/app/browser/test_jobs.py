"""The Jobs page in a browser, with the simulated jobs of the fake API."""

import re
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.browser import Visit, least_opacity
from tests.support.fakes.api import FakeApi

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


def unfold(summary: Locator, shown: Locator) -> None:
    """Open a part of a card. Cards are drawn anew every second, also in the middle of a click, which is then lost."""
    for _ in range(4):
        summary.click()
        with suppress(AssertionError):
            return expect(shown).to_be_visible(timeout=5000)
    return expect(shown).to_be_visible()


def test_fake_api_a_scan_is_looked_at_started_and_followed_to_its_log(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/jobs")
    page.get_by_role("textbox", name="Folders, buckets or files").fill("s3://evidence/look")
    page.get_by_role("button", name="Look first").click()
    expect(page.get_by_role("heading", name="120 files would be analysed")).to_be_visible()
    page.get_by_role("button", name="Start this scan").click()
    card = page.locator("[class*=st-key-card]", has_text="s3://evidence/look")
    expect(card.get_by_text("of 120 files")).to_be_visible()
    unfold(card.get_by_text("By detector"), card.get_by_role("cell", name="face"))
    unfold(card.get_by_text("Log", exact=True), card.get_by_text("line 300 of the driver"))
    card.get_by_role("link", name="What it found so far").click()
    expect(page).to_have_url(re.compile(r"/\?job=job-"))
    visit.close()


def test_fake_api_cards_keep_their_colour_while_the_api_is_slow(
    browser: Browser, fake_api: FakeApi, fake_api_url: str, monkeypatch: pytest.MonkeyPatch
):
    fake_api.jobs.begin(["s3://evidence/slow"])
    visit = Visit(browser, fake_api_url)
    page = visit.open("/jobs")
    expect(page.get_by_text("s3://evidence/slow")).to_be_visible()
    monkeypatch.setattr(fake_api.jobs, "delay_s", 2.5)
    stale = page.locator(".st-key-jobs [data-stale=true]")
    expect(stale.first).to_be_attached()
    assert least_opacity(page, ".st-key-jobs :is([data-stale], summary)") == 1
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
