"""Shared by the tests of this folder."""

import pytest


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio, as the API does."""
    return "asyncio"
