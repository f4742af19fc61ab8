"""The People page in a browser: by keys and clicks to a person, a false face, and back."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visit, settled

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_fake_api_a_person_is_named_and_a_false_face_marked_and_both_are_taken_back(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/people")
    page.locator(".tile .open").first.click()
    page.get_by_label("Name", exact=True).fill("Ann Example")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ann Example")).to_be_visible()
    settled(page)
    page.locator(".tile .open").nth(1).focus()
    page.keyboard.press("x")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Not a face").click()
    expect(page.get_by_text("14 faces in 8 files")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("15 faces in 8 files")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="No name")).to_be_visible()
    page.get_by_role("button", name="All people").click()
    expect(page.get_by_text("5 people")).to_be_visible()
    page.wait_for_url(f"{visit.url}/people")
    visit.errors = [error for error in visit.errors if "404" not in error]


def test_fake_api_a_click_on_the_timeline_opens_the_film_at_that_second(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/people")
    page.locator(".tile .open").first.click()
    chart = page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
    chart.wait_for()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 11)
    expect(page.locator(".viewer h1")).to_contain_text("clip_")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="All people")).to_be_visible()
    visit.errors = [error for error in visit.errors if "404" not in error]
