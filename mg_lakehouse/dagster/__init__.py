"""Dagster: when things happen, and what the UI says of them."""
