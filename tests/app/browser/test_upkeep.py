"""The pages Cluster and Settings in a browser: refreshed without fading, used by keyboard, a key made and revoked."""

import re

import pytest
from playwright.sync_api import Browser, expect

from cluster.access import tokens
from tests.support.browser import Visit, focus, least_opacity, settled
from tests.support.fakes.api import FakeApi
from tests.support.fakes.upkeep import BUSY, LOADS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_fake_api_the_cluster_page_is_refreshed_by_itself(
    browser: Browser, fake_api: FakeApi, fake_api_url: str, monkeypatch: pytest.MonkeyPatch
):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/cluster")
    row = page.get_by_role("row", name=re.compile("^ocr"))
    expect(row.get_by_role("cell", name="7", exact=True)).to_be_visible()
    ocr = LOADS["ocr"].model_copy(update={"waiting": 23})
    loads = tuple(ocr if load.name == "ocr" else load for load in BUSY.detectors)
    monkeypatch.setattr(fake_api.upkeep, "state", BUSY.model_copy(update={"detectors": loads}))
    expect(row.get_by_role("cell", name="23", exact=True)).to_be_visible()
    expect(page.locator("[role=graphics-document][aria-label^=Calls]")).to_be_visible(timeout=90_000)
    assert visit.errors == [] and visit.strangers == []
    visit.close()


def test_fake_api_the_cluster_page_keeps_its_colours_while_the_api_is_slow(
    browser: Browser, fake_api: FakeApi, fake_api_url: str, monkeypatch: pytest.MonkeyPatch
):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/cluster")
    expect(page.get_by_role("row", name=re.compile("^ocr"))).to_be_visible()
    monkeypatch.setattr(fake_api.upkeep, "delay_s", 2.5)
    expect(page.locator(".st-key-cluster [data-stale=true]").first).to_be_attached()
    assert least_opacity(page, ".st-key-cluster [data-stale]") == 1
    visit.close()


def test_fake_api_a_wide_table_is_reached_and_scrolled_by_keys(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url, width=390, height=844)
    page = visit.open("/settings")
    table = page.get_by_role("region", name="Settings")
    expect(table.get_by_role("row", name=re.compile("scanning.roots"))).to_be_visible()
    settled(page)
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")
    width = page.evaluate("() => document.scrollingElement.scrollWidth")
    assert width <= 390, "the page itself is no wider than the screen"
    visit.close()


def test_fake_api_a_key_is_made_copied_and_revoked_by_keyboard(browser: Browser, fake_api: FakeApi, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    page = visit.open("/settings")
    unfold = page.locator("summary", has_text="Make a key")
    unfold.press("Enter")
    name = page.get_by_role("textbox", name="Who or what uses it")
    name.fill("tool of the browser test")
    name.press("Tab")
    page.get_by_role("button", name="Make", exact=True).press("Enter")
    shown = page.locator(".st-key-made-key code")
    expect(shown).to_have_text(re.compile("^rs_"))
    token = tokens.parse(shown.inner_text())
    assert token is not None and fake_api.upkeep.keys[-1].id == token.id
    row = page.get_by_role("row", name=re.compile("tool of the browser test"))
    expect(row.get_by_text("valid")).to_be_visible()

    settled(page)
    choice = page.get_by_role("combobox", name="Revoke a key")
    focus(choice)
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name=re.compile("tool of the browser test")).click()
    expect(shown).to_have_count(0)
    page.get_by_role("button", name="Revoke", exact=True).press("Enter")
    page.get_by_role("button", name="Yes, revoke").press("Enter")
    expect(row.get_by_text("revoked")).to_be_visible()
    assert fake_api.upkeep.keys[-1].revoked_at is not None
    visit.close()


def test_fake_api_what_could_not_be_asked_is_said_in_german(
    browser: Browser, fake_api: FakeApi, fake_api_url: str, monkeypatch: pytest.MonkeyPatch
):
    visit = Visit(browser, fake_api_url, dark=True, locale="de-DE")
    page = visit.open("/cluster")
    expect(page.get_by_role("row", name=re.compile("^restraint fehlerhaft"))).to_be_visible()
    monkeypatch.setattr(fake_api.upkeep, "state", BUSY.model_copy(update={"unread": ("metrics",), "silent": ("n:1",)}))
    expect(page.get_by_text("Die Metriken der Knoten sind nicht gelesen")).to_be_visible()
    expect(page.get_by_text("Die Metriken dieser Knoten sind nicht lesbar: n:1")).to_be_visible()
    visit.close()
