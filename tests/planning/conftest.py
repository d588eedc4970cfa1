"""Fixtures of the planning room's tests."""

from tests.planning.simulation import sim

__all__ = ["sim"]
