"""The asset checks: what must hold for the tables, and what blocks gold.

Blocking: ``conservation``, ``unique_activity_id`` and ``hours_balance``. The others warn or alert. :mod:`mg_lakehouse.audit` computes what they
check.
"""
