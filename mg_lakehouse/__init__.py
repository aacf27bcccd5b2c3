"""Dagster assets that turn the MessageGears event feed into a Delta lakehouse.

Three rings, imports pointing inwards only:

1. ``mg_lakehouse.events``: what MessageGears sends. Pure functions on bytes and frames.
2. ``mg_lakehouse.stores``: clients of the outside (the queue, Delta tables, DuckDB).
3. ``mg_lakehouse.assets`` and its neighbours: thin Dagster definitions that read, call, write and report.

``mg_lakehouse.definitions.build_definitions`` is the one place that wires them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mg-lakehouse")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
