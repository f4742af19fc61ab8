"""Checks are tested on a machine of which only what the test gives it is seen."""

import pytest

from tests.commands.checks.stand_ins import isolate


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift."""
    isolate(tmp_path, monkeypatch)
