"""Tasks of reviewers: deciding on files, and on whose faces they are."""

import pytest
from playwright.sync_api import expect

from tests.app.browser.tasks.conftest import At
from tests.app.browser.tasks.hands import open_first_person
from tests.support.fakes.api import FakeApi
from tests.support.fakes.sessions import BOBS_TOKEN

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
FIFTY = 50


def test_decide_on_fifty_files_by_keys_alone(at: At, case_api: FakeApi):
    hands = at()
    page = hands.page
    expect(page.locator(".tile").first).to_be_visible()
    hands.press("r")
    name = page.locator(".viewer h1")
    for number in range(FIFTY):
        expect(page.get_by_text(f"{number} of 79 files decided")).to_be_visible()
        shown = name.inner_text()
        hands.press(str(1 + number % 3))
        expect(name).not_to_have_text(shown)
    expect(page.get_by_text("50 of 79 files decided")).to_be_visible()


def test_mark_a_false_face_and_split_a_group(at: At, case_api: FakeApi):
    hands = at()
    page = hands.page
    open_first_person(hands)
    hands.click(page.locator(".tile .pick").first)
    hands.click(page.get_by_role("button", name="Not a face"))
    expect(page.get_by_role("heading", name="14 faces in 7 files")).to_be_visible()
    hands.click(page.locator(".tile .pick").first)
    hands.click(page.locator(".tile .pick").nth(3), shift=True)
    hands.click(page.get_by_role("button", name="Split"))
    expect(page.get_by_role("heading", name="10 faces in")).to_be_visible()


def test_two_reviewers_decide_on_one_queue(at: At, case_api: FakeApi):
    ann, bob = at(), at(session=BOBS_TOKEN)
    seen = []
    for hands in (ann, bob):
        hands.click(hands.page.locator(".facets label", has_text="audio"))
        expect(hands.page.get_by_role("heading", name="4 files")).to_be_visible()
        hands.press("r")
        expect(hands.page.get_by_text("0 of 4 files decided")).to_be_visible()
    for hands, done in ((ann, 1), (bob, 2), (ann, 3), (bob, 4)):
        name = hands.page.locator(".viewer h1")
        expect(name).to_be_visible()
        seen.append(name.inner_text())
        hands.press("1")
        expect(hands.page.get_by_text(f"{done} of 4 files decided")).to_be_visible()
    assert sorted(seen) == [f"call_{n}.wav" for n in range(4)]
    expect(bob.page.get_by_text("No file is left in this queue")).to_be_visible()
