"""Checks are tested with the environment that the test sets, not with that of the machine."""

import pytest

from tests.commands.checks.stand_ins import isolate


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift."""
    isolate(tmp_path, monkeypatch)
