"""A browser and an app with the fake API, shared by all tests of this folder."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, app_over, chromium
from tests.support.fakes.api import FakeApi


@pytest.fixture(scope="package")
def fake_api() -> FakeApi:
    """The fake API behind `fake_api_url`."""
    return FakeApi()


@pytest.fixture(scope="package")
def fake_api_url(fake_api: FakeApi) -> Iterator[str]:
    """The URL of an app with the fake API."""
    with app_over(fake_api) as url:
        yield url


@pytest.fixture(scope="package")
def app_url(fake_api_url: str) -> str:
    """The URL of an app whose API has more than one page of results; here the fake API."""
    return fake_api_url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, app_url: str) -> Iterator[Visit]:
    """A new browser context on the app. Fails if a page logs an error or sends a request to another server."""
    visit = Visit(browser, app_url)
    yield visit
    visit.close()
    assert visit.strangers == [], "the page sent a request to another server"
    assert visit.errors == []
