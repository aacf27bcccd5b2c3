"""The dashboard: one page over the catalogue. Its queries are in :mod:`~mg_lakehouse.serving.dashboard.questions`, its layout in ``page.py``."""
