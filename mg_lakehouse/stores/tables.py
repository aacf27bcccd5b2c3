"""What the bronze and silver tables are created with: schema, partitioning, statistics, comments.

Derived from the catalogue. Gold tables are declared by the dbt project.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, columns_of, event_of_table
from mg_lakehouse.events.schemas import ACTIVITY_SCHEMA, BRONZE_SCHEMA, LOADED_SCHEMA, silver_schema
from mg_lakehouse.stores.lake import TableSpec

__all__ = ["ACCOUNT_ACTIVITY", "BRONZE_TABLES", "EVENT_FEED", "LOADED_FILES", "silver_spec"]

EVENT_FEED: Final = TableSpec(
    layer="bronze",
    name="event_feed",
    schema=BRONZE_SCHEMA,
    stats_columns=("message_id", "sent_at", "received_at"),
    description="Messages of the event feed as received from SQS, one row per message id.",
    append_only=True,
)

ACCOUNT_ACTIVITY: Final = TableSpec(
    layer="bronze",
    name="account_activity",
    schema=ACTIVITY_SCHEMA,
    stats_columns=("message_id", "sent_at", "received_at", "activity_date", "activity_type"),
    description="The daily files of the AccountActivity API, cut into bundles, one row per bundle.",
    append_only=True,
)

LOADED_FILES: Final = TableSpec(
    layer="bronze",
    name="loaded_files",
    schema=LOADED_SCHEMA,
    stats_columns=("message_id", "received_at"),
    description="Files of the feed that somebody loaded, cut into bundles, one row per bundle.",
    append_only=True,
)

BRONZE_TABLES: Final = (EVENT_FEED.name, ACCOUNT_ACTIVITY.name, LOADED_FILES.name)
"""Names of the bronze tables, which are the sources of silver's rows."""


@cache
def silver_spec(table: str) -> TableSpec:
    """What a silver table is created with.

    Raises:
        KeyError: the catalogue has no such table.
    """
    rejected = table == REJECTED_ITEMS
    return TableSpec(
        layer="silver",
        name=table,
        schema=silver_schema(table),
        stats_columns=("message_id", "received_at") if rejected else ("event_at", "request_id", "received_at", "source"),
        description="What could not become a row of an event table, and why." if rejected else event_of_table(table).description,
        comments={column.name: column.description for column in columns_of(table)},
    )
