"""The errors that a user meets, classified as permanent or transient.

Clients at the edge (:mod:`mg_lakehouse.lake`, :mod:`mg_lakehouse.sources`) translate what boto3, delta-rs and dbt raise into these;
other code checks only the class. Each text is one sentence with the thing and the remedy,
and never holds message content, an address or a credential.
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "InterruptedRunError", "LakehouseError", "PermanentError", "QueryError", "TransientError"]


class LakehouseError(Exception):
    """Base class of all errors that this package raises on purpose."""


class PermanentError(LakehouseError):
    """A retry changes nothing until somebody acts: a missing queue, a refused credential."""


class ConfigurationError(PermanentError):
    """A setting is missing or unusable."""


class QueryError(PermanentError):
    """A statement is refused, or DuckDB reports what is wrong with it and where."""


class TransientError(LakehouseError):
    """A retry may succeed: a throttled call, a dropped connection."""


class InterruptedRunError(LakehouseError):
    """Somebody stopped the run, with SIGTERM or Ctrl-C."""
