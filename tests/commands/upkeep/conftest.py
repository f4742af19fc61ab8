"""The head of the tests of erasures."""

from tests.commands.erasure.conftest import machine

__all__ = ["machine"]
