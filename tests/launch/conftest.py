"""Fixtures of the launch tests: a network of machines, and the services of compose.yaml on it."""

from collections.abc import Iterator

import pytest

from tests.launch.compose import Compose
from tests.launch.machines import Network
from tests.launch.machines import network as made

LIGHT = {
    f"RAYSIFT_DETECTORS__{name}__ENABLED": "false"
    for name in ("BARCODE", "CLIP", "FACE", "LOGO", "RESTRAINT", "WHISPER")
}


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network without machines, shared by the session."""
    with made(tmp_path_factory.mktemp("network")) as network:
        yield network


@pytest.fixture(scope="session")
def compose(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The running services of compose.yaml, with the two lightest detectors."""
    made = Compose(network, tmp_path_factory.mktemp("compose"), {"RAYSIFT_NAME": "raysift.test"}, LIGHT)
    made.up()
    yield made
