"""The task of somebody who hands a case to a colleague."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.app.browser.tasks.conftest import At
from tests.support.fakes.api import FakeApi
from tests.support.fakes.sessions import PASSWORD

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_hand_a_case_to_a_colleague_by_its_address(at: At, case_api: FakeApi):
    ann = at("/")
    expect(ann.page.get_by_text("The harbour, 2026")).to_be_visible()
    ann.click(ann.page.get_by_role("main").get_by_role("link", name="Browse").first)
    ann.click(ann.page.locator(".facets label", has_text="video"))
    expect(ann.page.get_by_role("heading", name="4 files")).to_be_visible()
    handed = urlsplit(ann.page.url)
    bob = at(f"{handed.path}?{handed.query}", session="")
    expect(bob.page.get_by_label("Name")).to_be_focused()
    for text, key in (("bob", "Tab"), (PASSWORD, "Enter")):
        bob.write(text)
        bob.press(key)
    expect(bob.page.get_by_text("Bob, reviewer")).to_be_visible()
    expect(bob.page.get_by_role("heading", name="4 files")).to_be_visible()
    expect(bob.page.get_by_role("combobox", name="Case")).to_have_value("The harbour, 2026")
    assert bob.page.url == ann.page.url
