"""What all assets have in common: how they describe their columns, report a table, and fail.

Metadata are numbers, times and addresses of tables, never content of a message.
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
from mg_lakehouse.lake.table_stats import table_stats
from mg_lakehouse.location import Layer

__all__ = ["OWNERS", "RETRY_TRANSIENT", "as_failure", "column_schema", "table_metadata"]

OWNERS: Final = ("team:data-engineering",)

RETRY_TRANSIENT: Final = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For an op. A permanent failure is marked so that this does not apply to it."""


@contextmanager
def as_failure() -> Iterator[None]:
    """Turn our errors into Dagster failures: permanent ones are not retried, and either is one clear sentence.

    So is an interrupt. Dagster (1.13) would have the retry policy apply to it and start the step again: a run that was told to
    stop went on until its queue was empty.
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
    """The columns of a table for the asset's page, personal data tagged."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, column.type, description=column.description, tags={"pii": ""} if column.pii else {})
            for column in columns
        ]
    )


def table_metadata(lake: Lake, layer: Layer, table: str) -> Mapping[str, Any]:
    """Rows, Delta version, address and age of a table, as materialization metadata. Nothing where it does not exist."""
    found = table_stats(lake, layer, table)
    if found is None:
        return {}
    metadata: dict[str, Any] = {
        "dagster/row_count": found.rows,
        "dagster/uri": lake.uri_of(layer, table),
        "delta_version": found.version,
        "updated_at": dg.MetadataValue.timestamp(found.updated_at),
    }
    if found.newest_received_at is not None:
        metadata["lag_seconds"] = round((datetime.now(UTC) - found.newest_received_at).total_seconds(), 1)
    return metadata
