"""One browser and one app with the fake API, for all tests of this folder."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, chromium, free_port, streamlit
from tests.support.fakes.api import FakeApi
from tests.support.pages import served
from tests.support.paths import ROOT


@pytest.fixture(scope="package")
def stand_in_url() -> Iterator[str]:
    """The app with the fake API behind it."""
    api = free_port()
    with served(FakeApi(), api), streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(api)) as url:
        yield url


@pytest.fixture(scope="package")
def app_url(stand_in_url: str) -> str:
    """The app with any API that has more than a page of results; here the fake one."""
    return stand_in_url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, app_url: str) -> Iterator[Visit]:
    """A new visitor of the app. No page may log an error or send a request to another server."""
    visit = Visit(browser, app_url)
    yield visit
    visit.close()
    assert visit.strangers == [], "the page sent a request to another server"
    assert visit.errors == []
