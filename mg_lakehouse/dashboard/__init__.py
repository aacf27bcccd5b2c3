"""The dashboard: one page over the catalogue. What it asks is in :mod:`~mg_lakehouse.dashboard.questions`, what it shows in ``page.py``."""
