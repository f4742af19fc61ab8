"""One real API for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.local_api import LocalApi, local_api


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    """The API in Serve's local testing mode."""
    with local_api(tmp_path_factory.mktemp("state")) as api:
        yield api


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio, as the API does."""
    return "asyncio"
