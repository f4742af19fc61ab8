"""`make pictures`: a picture of every page in docs/pictures/pages, and what can be done there, in words, beside it.

The words are compared with the page by test_pages.py: a picture that is older than its page is found by that.
"""

import io
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.app.browser.pages.places import CASE, PLACES, drawn, harbour
from tests.support.browser import Visit, app_over, chromium
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "pictures" / "pages"
QUALITY = 85  # of WebP: letters are sharp, and a page has some 40 kB
_CONTROL = re.compile(
    r"""^ *- '?(heading|button|link|textbox|searchbox|combobox|checkbox|radio|slider|switch) "(.+?)"[\[ :'\n]"""
)
_UNSAID = re.compile(r"\w\.(jpg|mp4|wav)\b|Navigate to home page|Link to heading|button (Help|Open)$")


def picture_of(name: str) -> Path:
    """The file with the picture of a place."""
    return FOLDER / f"{name}.webp"


def words_of(name: str) -> Path:
    """The file with the words of a place."""
    return FOLDER / f"{name}.txt"


def words(page: Page) -> str:
    """The headings and controls of a page, as screen readers name them, without numbers, names of files, and values."""
    lines = page.locator("body").aria_snapshot().splitlines(keepends=True)
    named = {f"{found[1]} {found[2]}" for line in lines if (found := _CONTROL.match(line))}
    plain = {re.sub(r": .*|[\d.:]+", "", line).strip() for line in named if not _UNSAID.search(line)}
    return "".join(f"{line}\n" for line in sorted(plain))


def save(page: Page, name: str) -> None:
    """Keep the picture and the words of a page."""
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(picture_of(name), quality=QUALITY, method=6)
    words_of(name).write_text(words(page))


def main() -> None:
    """Open every page, and save it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with app_over(harbour()) as url, chromium() as browser:
        visit = Visit(browser, url)
        visit.open(f"/?case={CASE}&lang=en")
        for place in PLACES:
            drawn(visit.open(place.path), place)
            save(visit.page, place.name)
        visit.close()


if __name__ == "__main__":
    main()
