"""Defines the bronze tables: each column is declared once, with its type, its description and whether it is personal.

Schemas, Delta comments and the assets' pages are made from these declarations. A table grows only by nullable columns: a new one
is a metadata commit, after which every append under way validates its table again.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from mg_lakehouse.events.catalogue import Column
from mg_lakehouse.events.schemas import dtype_of
from mg_lakehouse.lake.tables import TableSpec

__all__ = [
    "ACCOUNT_ACTIVITY",
    "ACTIVITY_SCHEMA",
    "BRONZE_COLUMNS",
    "BRONZE_SCHEMA",
    "BRONZE_SPECS",
    "BRONZE_TABLES",
    "EVENT_FEED",
    "LOADED_FILES",
    "LOADED_SCHEMA",
]

_MESSAGE: Final = (
    Column(
        "message_id", "string", "Key of the row: SQS's id of the message, or one made of the text of a bundle that was cut out of a file."
    ),
    Column(
        "body", "string", "The text as received, XML by itself or in an envelope, or CSV, with whatever personal data it holds.", pii=True
    ),
    Column("body_sha256", "string", "SHA-256 of the body's UTF-8, in lower-case hexadecimal."),
    Column(
        "sent_at",
        "timestamp",
        "When SQS took the message, in UTC; for a bundle of a daily file the start of the file's day; null for a loaded file.",
    ),
    Column("received_at", "timestamp", "When the row was received, in UTC."),
    Column("receive_count", "int", "How often SQS had handed the message out by then; 1 for a bundle of a file."),
    Column("attributes", "string", "JSON object of the message's attributes; empty for a bundle of a file."),
    Column("queue", "string", "Name of the queue; null for a bundle of a file."),
    Column("batch_id", "string", "Id of the batch that the row was committed in."),
    Column("received_date", "date", "UTC date of `received_at`; the partition column."),
    Column(
        "envelope",
        "string",
        "What the body's XML is in, the outermost first, as `sns` or `eventbridge+gzip`, `csv` where it is that; null where in nothing, and for a file's bundle.",
    ),
)
"""The columns that every bronze table has."""

_PART: Final = Column("part", "int", "Place of the bundle in its file, from 0.")

BRONZE_COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "event_feed": _MESSAGE,
    "account_activity": (
        *_MESSAGE,
        Column("activity_date", "date", "Day of the file, in MG_ACTIVITY_TIMEZONE."),
        Column("activity_type", "string", "Type of the file, by MessageGears' name."),
        Column("file_sha256", "string", "SHA-256 of the file's text, in lower-case hexadecimal."),
        _PART,
        Column("parts", "int", "Number of the file's bundles, in the last of them alone."),
    ),
    "loaded_files": (*_MESSAGE, Column("file_name", "string", "Name of the file that the bundle was cut out of."), _PART),
}
"""The columns of each bronze table."""


def _spec(table: str, description: str, *stats_columns: str) -> TableSpec:
    columns = BRONZE_COLUMNS[table]
    return TableSpec(
        layer="bronze",
        name=table,
        schema=pl.Schema({column.name: dtype_of(column) for column in columns}),
        stats_columns=stats_columns,
        description=description,
        append_only=True,
        comments={column.name: column.description for column in columns},
    )


EVENT_FEED: Final = _spec(
    "event_feed", "Messages of the event feed as received from SQS, one row per message id.", "message_id", "sent_at", "received_at"
)

ACCOUNT_ACTIVITY: Final = _spec(
    "account_activity",
    "The daily files of the AccountActivity API, cut into bundles, one row per bundle.",
    "message_id",
    "sent_at",
    "received_at",
    "activity_date",
    "activity_type",
)

LOADED_FILES: Final = _spec(
    "loaded_files", "Files of the feed that somebody loaded, cut into bundles, one row per bundle.", "message_id", "received_at"
)

BRONZE_SPECS: Final = (EVENT_FEED, ACCOUNT_ACTIVITY, LOADED_FILES)

BRONZE_TABLES: Final = tuple(spec.name for spec in BRONZE_SPECS)
"""Names of the bronze tables, the sources of silver's rows."""

BRONZE_SCHEMA: Final = EVENT_FEED.schema
"""``bronze/event_feed``: one row per SQS message, with the body as received."""

ACTIVITY_SCHEMA: Final = ACCOUNT_ACTIVITY.schema
"""``bronze/account_activity``: one row per bundle of a daily file."""

LOADED_SCHEMA: Final = LOADED_FILES.schema
"""``bronze/loaded_files``: one row per bundle of a loaded file."""
