"""Asset checks: what must hold of the tables, and what blocks gold.

Blocking: ``conservation``, ``unique_activity_id`` and ``hours_balance``. The others warn or alert. What is checked is reckoned below: :mod:`mg_lakehouse.audit`.
"""
