"""Signing in and out in a browser: by name and password, and by a one-time link."""

import pytest
from playwright.sync_api import Browser, expect

from app.sign_in import COOKIE
from tests.support.browser import Visit
from tests.support.fakes.sessions import PASSWORD

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_somebody_signs_in_sees_the_gallery_and_signs_out(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url, session="")
    page = visit.open("/?label=face")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".tile").first).to_be_visible()
    assert "label=face" in page.url
    expect(page.get_by_text("Ann <b>, admin")).to_be_visible()
    assert page.evaluate("document.cookie").find(COOKIE) == -1
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    visit.open("/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    visit.close()
    assert visit.strangers == [] and visit.errors == []
