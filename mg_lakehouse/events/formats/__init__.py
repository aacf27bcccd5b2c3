"""Formats that events come in: CSV, daily files, envelopes, archives."""
