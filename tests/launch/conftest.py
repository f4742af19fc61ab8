"""What the tests of launching share."""

from collections.abc import Iterator

import pytest

from launch.machines import Network
from launch.machines import network as made


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with made(tmp_path_factory.mktemp("network")) as network:
        yield network
