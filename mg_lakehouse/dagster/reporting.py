"""Shared by all assets: column schemas, table metadata and failures.

Metadata are numbers, times and table addresses, never a message's content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from mg_lakehouse._util.escaping import for_terminal
from mg_lakehouse.dagster.interrupts import STOPPED
from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.events.catalogue import Column
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.table_stats import TableStats, table_stats
from mg_lakehouse.location import Layer

__all__ = ["OWNERS", "RETRY_TRANSIENT", "as_failure", "column_schema", "opened_metadata", "table_metadata"]

OWNERS: Final = ("team:data-engineering",)

RETRY_TRANSIENT: Final = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Retry policy of an op. It does not apply to permanent failures, which are marked."""


@contextmanager
def as_failure() -> Iterator[None]:
    """Turn our errors and interrupts into Dagster failures of one clear sentence. Permanent errors and interrupts are not retried.

    Dagster (1.13) applies the retry policy to an interrupt and starts the step again: a stopped run went on until its queue was empty.
    """
    try:
        yield
    except PermanentError as error:
        raise dg.Failure(description=for_terminal(str(error)), allow_retries=False) from error
    except TransientError as error:
        raise dg.Failure(description=for_terminal(str(error)), allow_retries=True) from error
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise dg.Failure(description=STOPPED, allow_retries=False) from interrupt


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """Return a table's columns for the asset's page, with personal data tagged."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, column.type, description=column.description, tags={"pii": ""} if column.pii else {})
            for column in columns
        ]
    )


def table_metadata(lake: Lake, layer: Layer, table: str, stats: TableStats | None) -> Mapping[str, Any]:
    """Return rows, Delta version, address and age of a table as materialization metadata; empty if the table does not exist."""
    if stats is None:
        return {}
    metadata: dict[str, Any] = {
        "dagster/row_count": stats.rows,
        "dagster/uri": lake.uri_of(layer, table),
        "delta_version": stats.version,
        "updated_at": dg.MetadataValue.timestamp(stats.updated_at),
    }
    if stats.newest_received_at is not None:
        metadata["lag_seconds"] = round((datetime.now(UTC) - stats.newest_received_at).total_seconds(), 1)
    return metadata


def opened_metadata(lake: Lake, layer: Layer, table: str) -> Mapping[str, Any]:
    """Open a table, and return :func:`table_metadata` of it.

    Raises:
        PermanentError, TransientError: the table cannot be opened, or its log not be read.
    """
    handle = lake.open(layer, table)
    return table_metadata(lake, layer, table, None if handle is None else table_stats(handle))
