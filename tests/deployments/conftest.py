"""One real API for the tests of deployments/api and deployments/access: a process can serve only one."""

from collections.abc import Iterator

import pytest

from tests.support.local_api import LocalApi, local_api


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    """The API in Serve's local testing mode."""
    with local_api(tmp_path_factory.mktemp("state")) as api:
        yield api
