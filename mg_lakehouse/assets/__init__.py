"""The assets: thin definitions that read, call a store, and report what it did.

``bronze`` drains the queue, ``silver`` flattens, ``gold`` runs the dbt project. What they have in common, metadata and
the translation of errors, is :mod:`mg_lakehouse.assets.reporting`.
"""
