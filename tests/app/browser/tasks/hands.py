"""What a person's hands do in a task: clicks and keys, counted, and the table of how many a task may take."""

import re
from typing import NamedTuple

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import settled
from tests.support.paths import ROOT

TABLE = ROOT / "docs" / "design" / "tasks.md"
_ROW = re.compile(r"^\| *\d+ \| (?P<task>[^|]+?) *\| *(?P<clicks>\d+) \| *(?P<keys>\d+) \|", re.MULTILINE)


class Effort(NamedTuple):
    """How many clicks and keys a task takes."""

    clicks: int
    keys: int


class Hands:
    """Works on one page, and counts. Every letter that is typed is a key; keys that are pressed together are one."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.keys = 0

    def click(self, where: Locator, shift: bool = False) -> None:
        """Click on an element once the page is drawn, with `shift` while Shift is held, which is one key."""
        settled(self.page)
        where.click(modifiers=["Shift"] if shift else [])
        self.clicks += 1
        self.keys += shift

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, wherever the focus is."""
        for _ in range(times):
            self.page.keyboard.press(key)
        self.keys += times

    def write(self, text: str) -> None:
        """Type a text, wherever the focus is."""
        self.page.keyboard.type(text)
        self.keys += len(text)


def open_first_person(hands: Hands) -> None:
    """Open the largest group of faces of the case from its results."""
    page = hands.page
    hands.click(page.get_by_role("link", name="People", exact=True))
    expect(page.get_by_role("heading", name="people")).to_be_visible()
    hands.click(page.locator(".tile .open").first)
    expect(page.get_by_role("heading", name="15 faces in 8 files")).to_be_visible()


def table() -> dict[str, Effort]:
    """Name of the test of a task -> what the table of docs/design/tasks.md says that it takes."""
    rows = _ROW.finditer(TABLE.read_text())
    return {test_of(row["task"]): Effort(int(row["clicks"]), int(row["keys"])) for row in rows}


def test_of(task: str) -> str:
    """The name of the test of a task."""
    return f"test_{re.sub('[^a-z]+', '_', task.lower()).strip('_')}"
