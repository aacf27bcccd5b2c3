"""Maintenance: compaction, retention, repair."""
