"""A receiver of webhooks, and its secret in the environment."""

import pytest

from tests.deployments.jobs.webhooks.receiver import SECRET, receiving


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
