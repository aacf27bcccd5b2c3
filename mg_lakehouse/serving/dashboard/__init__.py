"""The dashboard: one page over the catalogue. What it asks is in :mod:`~mg_lakehouse.serving.dashboard.questions`, what it shows in ``page.py``."""
