"""Measurements behind the figures in README and docs; not part of the tests."""
