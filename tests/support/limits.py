"""A mark for tests of what the worker does about limits, deadlines and output."""

import importlib.util

import pytest

needs_limits = pytest.mark.skipif(
    importlib.util.find_spec("regrow.actors.bounds") is None, reason="the worker does not enforce limits yet"
)
