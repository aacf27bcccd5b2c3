"""Serving: how people and programs read the lake."""
