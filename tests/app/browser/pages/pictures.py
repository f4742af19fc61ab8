"""`make pictures`: a picture of every page in docs/pictures/pages, and what can be done there, in words, beside it.

The words are compared with the page by test_pages.py: a picture that is older than its page is found by that.
"""

import io
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.app.browser.pages.places import CASE, PLACES, drawn, harbour
from tests.support.browser import Visit, chromium, free_port, streamlit
from tests.support.pages import served
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "pictures" / "pages"
COLORS = 128  # of a picture: so it has a quarter of the bytes
_CONTROL = re.compile(r"""^ *- '?(heading|button|link|textbox|searchbox|combobox|checkbox|radio|slider|switch) "(.+?)"[\[ :'\n]""")


def picture_of(name: str) -> Path:
    """The file with the picture of a place."""
    return FOLDER / f"{name}.png"


def words_of(name: str) -> Path:
    """The file with the words of a place."""
    return FOLDER / f"{name}.txt"


def words(page: Page) -> str:
    """The headings and controls of a page, as screen readers name them, without numbers and names of files."""
    lines = page.locator("body").aria_snapshot().splitlines(keepends=True)
    named = {f"{found[1]} {found[2]}" for line in lines if (found := _CONTROL.match(line))}
    plain = {re.sub(r"\d+", "0", line) for line in named if not re.search(r"\w\.(jpg|mp4|wav)\b", line)}
    return "".join(f"{line}\n" for line in sorted(plain))


def save(page: Page, name: str) -> None:
    """Keep the picture and the words of a page."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(COLORS, dither=Image.Dither.NONE).save(picture_of(name), optimize=True)
    words_of(name).write_text(words(page))


def main() -> None:
    """Open every page, and save it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    port = free_port()
    script = ROOT / "app" / "serve.py"
    with served(harbour(), port), streamlit(script, RAYSIFT_API__PORT=str(port)) as url, chromium() as browser:
        visit = Visit(browser, url)
        visit.open(f"/?case={CASE}&lang=en")
        for place in PLACES:
            drawn(visit.open(place.path), place)
            save(visit.page, place.name)
        visit.close()


if __name__ == "__main__":
    main()
