"""A head whose stores are filled, with the settings of commands in the environment."""

import pytest

from tests.support.machine import Machine


@pytest.fixture
def machine(tmp_path, monkeypatch):
    machine = Machine(tmp_path)
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAYSIFT_KEY", raising=False)
    return machine
