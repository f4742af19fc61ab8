"""The files of Browse as a table in a browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visit, settled

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
ROW_PX, TICK_PX, NAME_PX = 31, 16, 120  # height of a row, of which the heading is the first; from the left


def click(page: Page, row: int, x: float) -> None:
    """Click into a row of the table, which is drawn on a canvas under an element that scrolls."""
    settled(page)
    page.locator(".dvn-scroller").click(position={"x": x, "y": (row + 1.5) * ROW_PX})


def test_fake_api_rows_are_ticked_a_name_opens_its_file_and_the_way_back_is_the_table(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/?kind=audio&sort=name&view=table")
    expect(page.locator("td", has_text="call_1.wav")).to_be_attached()
    click(page, 2, TICK_PX)
    expect(page.get_by_text("1 selected")).to_be_visible()
    click(page, 0, TICK_PX)
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Select all 4").click()
    expect(page.get_by_text("4 selected")).to_be_visible()
    expect(page.locator("tr[aria-selected=true]")).to_have_count(4)
    click(page, 1, NAME_PX)
    expect(page.locator(".viewer h1")).to_have_text("call_1.wav")
    page.keyboard.press("Escape")
    expect(page.locator("td", has_text="call_1.wav")).to_be_attached()
    assert "view=table" in page.url
    page.get_by_role("radio", name="Gallery").click()
    expect(page.locator(".tile.picked")).to_have_count(4)
    assert "view" not in page.url
