"""Audit: what can be proved of the lake, and of what it was sent."""
