"""What the tests of the API share."""

import pytest


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio, as the API does."""
    return "asyncio"
