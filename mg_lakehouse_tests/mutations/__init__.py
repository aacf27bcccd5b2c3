"""Deliberate breaks of the code, each with the near tests that must see it: ``make mutations``."""
