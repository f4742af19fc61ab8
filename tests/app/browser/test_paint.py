"""The first paint of the app's pages, as a browser measures it."""

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_a_browser_tells_how_long_the_first_paint_of_a_page_took(browser: Browser, fake_api_url: str):
    visit = Visit(browser, fake_api_url)
    with visit.page.expect_response("**/api/first-paint") as sent:
        visit.open("/search")
    assert sent.value.status == 204
    assert 0 < float(sent.value.request.post_data or "") < 30
    visit.close()
    assert visit.strangers == []
