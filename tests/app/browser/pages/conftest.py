"""An app over the API of places.harbour, and one browser context in which all its pages are opened."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.app.browser.pages.places import harbour
from tests.support.browser import Visit, app_over
from tests.support.fakes.api import FakeApi


@pytest.fixture(scope="module")
def harbour_api() -> Iterator[FakeApi]:
    """The API, whose data no test changes but by adding to it."""
    api = harbour()
    yield api
    api.catalog.close()


@pytest.fixture(scope="module")
def harbour_url(harbour_api: FakeApi) -> Iterator[str]:
    """The URL of an app with this API."""
    with app_over(harbour_api) as url:
        yield url


@pytest.fixture(scope="module")
def tour(browser: Browser, harbour_url: str) -> Iterator[Visit]:
    """A context that opens one page after another: the app's scripts are in its cache then."""
    tour = Visit(browser, harbour_url)
    yield tour
    tour.close()
    assert tour.strangers == [] and tour.errors == []
