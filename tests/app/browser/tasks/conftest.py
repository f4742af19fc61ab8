"""An app and a case with 80 files for each task, and hands whose clicks and keys are counted."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.app.browser.tasks.hands import Effort, Hands, table
from tests.support.browser import Visit, free_port, settled, streamlit
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.pages import served
from tests.support.paths import ROOT

CASE = "harbour"
At = Callable[..., Hands]


@pytest.fixture(scope="package")
def api_port() -> int:
    """The port at which the app of `case_url` looks for the API."""
    return free_port()


@pytest.fixture(scope="package")
def case_url(api_port: int) -> Iterator[str]:
    """The URL of an app that all tasks share. Each has its own API and session, so that nothing is left over."""
    with streamlit(ROOT / "app" / "serve.py", RAYSIFT_API__PORT=str(api_port)) as url:
        yield url


@pytest.fixture
def case_api(api_port: int) -> Iterator[FakeApi]:
    """The API of one task, with the files of the fake API in a case."""
    api = FakeApi()
    api.cases.store.add(CASE, "The harbour, 2026", (FOLDER,), "Ann")
    with served(api, api_port):
        yield api
    api.catalog.close()


@pytest.fixture
def at(request: pytest.FixtureRequest, browser: Browser, case_url: str, case_api: FakeApi) -> Iterator[At]:
    """Open a page of the app and wait until it is drawn; returns the hands of who looks at it.

    All hands of a task count together.

    `session`: of whom; by default one of Ann's; empty: nobody is signed in.

    Fails if a page logged an error or asked another server, or if the table has other numbers of clicks and keys.
    """
    visits: list[Visit] = []
    working: list[Hands] = []

    def at(path: str = f"/?case={CASE}", session: str | None = None) -> Hands:
        visits.append(Visit(browser, case_url, session=session))
        working.append(Hands(visits[-1].open(path)))
        if session != "":
            expect(working[-1].page.get_by_role("link", name="Sign out")).to_be_visible()
            settled(working[-1].page)
        return working[-1]

    yield at
    for visit in visits:
        visit.close()
        assert (visit.strangers, visit.errors) == ([], [])
    taken = Effort(sum(hands.clicks for hands in working), sum(hands.keys for hands in working))
    assert taken == table()[request.node.name], "docs/design/tasks.md has other numbers of clicks and keys"
