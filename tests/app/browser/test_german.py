"""The app in a browser that asks for German: pages, what scripts draw, and the choice of another language."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cluster.records import asset_id
from tests.support.browser import Visit


@pytest.fixture
def german(browser: Browser, app_url: str) -> Iterator[Visit]:
    visit = Visit(browser, app_url, locale="de-DE")
    yield visit
    visit.close()
    assert visit.errors == []


def test_a_browser_that_asks_for_german_gets_it_and_keeps_another_choice(german: Visit):
    page = german.open("/?case=*")
    expect(page.get_by_role("heading", name="80 Dateien")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("link", name="Überblick", exact=True)).to_be_visible()
    page.get_by_role("checkbox", name="Video").check()
    expect(page.get_by_role("heading", name="4 Dateien")).to_be_visible()
    page.locator(".tile .open").first.click()
    expect(page.get_by_role("link", name="← Dateien")).to_be_visible()
    expect(page.get_by_role("button", name="Aufdecken", exact=True)).to_be_visible()
    expect(page.get_by_text("Gelesener Text")).to_be_visible()
    expect(page.locator(".found output").first).to_have_text(re.compile(r"ab 0,\d\d"))

    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("link", name="← Browse")).to_be_visible()
    expect(page.locator(".found output").first).to_have_text(re.compile(r"from 0\.\d\d"))
    page = german.open("/cases")  # of the address itself nothing says a language
    expect(page.get_by_role("heading", name="Cases")).to_be_visible()
    page.get_by_role("link", name="Deutsch").click()
    expect(page.get_by_role("heading", name="Fälle")).to_be_visible()


def test_the_order_of_files_is_chosen_in_german_and_an_address_means_the_same_in_each_language(german: Visit):
    page = german.open("/?case=*&sort=name")
    order = page.get_by_role("combobox", name="Sortieren")
    expect(order).to_have_value("Name")
    order.click()
    page.get_by_role("option", name="Älteste").click()
    page.wait_for_url("**sort=oldest**")
    german.open(f"/file?asset={asset_id('s3://evidence/case 7/clip_1.mp4')}&lang=en")
    expect(page.get_by_role("button", name="Reveal", exact=True)).to_be_visible()


def test_the_page_that_signs_in_is_german_too(browser: Browser, app_url: str):
    visit = Visit(browser, app_url, locale="de-DE", session="")
    page = visit.open("/jobs")
    expect(page.get_by_role("button", name="Anmelden")).to_be_visible()
    expect(page.get_by_label("Passwort")).to_be_visible()
    visit.close()
