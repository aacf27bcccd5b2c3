"""What the bronze tables are created with: schema, partitioning, statistics, comments."""

from __future__ import annotations

from typing import Final

from mg_lakehouse.events.schemas import ACTIVITY_SCHEMA, BRONZE_SCHEMA, LOADED_SCHEMA
from mg_lakehouse.lake.tables import TableSpec

__all__ = ["ACCOUNT_ACTIVITY", "BRONZE_SPECS", "BRONZE_TABLES", "EVENT_FEED", "LOADED_FILES"]

_BRONZE_COMMENTS: Final[dict[str, str]] = {
    "message_id": "Key of the row: SQS's id of the message, or one made of the text of a bundle that was cut out of a file.",
    "body": "The text as received, XML by itself or in an envelope, with whatever personal data it holds.",
    "body_sha256": "SHA-256 of the body's UTF-8, in lower-case hexadecimal.",
    "sent_at": "When SQS took the message, in UTC; for a bundle of a daily file the start of the file's day; null for a loaded file.",
    "received_at": "When the row was received, in UTC.",
    "receive_count": "How often SQS had handed the message out by then; 1 for a bundle of a file.",
    "attributes": "JSON object of the message's attributes; empty for a bundle of a file.",
    "queue": "Name of the queue; null for a bundle of a file.",
    "batch_id": "Id of the batch that the row was committed in.",
    "received_date": "UTC date of `received_at`; the partition column.",
    "envelope": "What the body's XML is in, the outermost first, as `sns` or `eventbridge+gzip`; null where in nothing, and for a bundle of a file.",
}

EVENT_FEED: Final = TableSpec(
    layer="bronze",
    name="event_feed",
    schema=BRONZE_SCHEMA,
    stats_columns=("message_id", "sent_at", "received_at"),
    description="Messages of the event feed as received from SQS, one row per message id.",
    append_only=True,
    comments=_BRONZE_COMMENTS,
)

ACCOUNT_ACTIVITY: Final = TableSpec(
    layer="bronze",
    name="account_activity",
    schema=ACTIVITY_SCHEMA,
    stats_columns=("message_id", "sent_at", "received_at", "activity_date", "activity_type"),
    description="The daily files of the AccountActivity API, cut into bundles, one row per bundle.",
    append_only=True,
    comments={
        **_BRONZE_COMMENTS,
        "activity_date": "Day of the file, in MG_ACTIVITY_TIMEZONE.",
        "activity_type": "Type of the file, by MessageGears' name.",
        "file_sha256": "SHA-256 of the file's text, in lower-case hexadecimal.",
        "part": "Place of the bundle in its file, from 0.",
        "parts": "Number of the file's bundles, in the last of them alone.",
    },
)

LOADED_FILES: Final = TableSpec(
    layer="bronze",
    name="loaded_files",
    schema=LOADED_SCHEMA,
    stats_columns=("message_id", "received_at"),
    description="Files of the feed that somebody loaded, cut into bundles, one row per bundle.",
    append_only=True,
    comments={
        **_BRONZE_COMMENTS,
        "file_name": "Name of the file that the bundle was cut out of.",
        "part": "Place of the bundle in its file, from 0.",
    },
)

BRONZE_SPECS: Final = (EVENT_FEED, ACCOUNT_ACTIVITY, LOADED_FILES)

BRONZE_TABLES: Final = tuple(spec.name for spec in BRONZE_SPECS)
"""Names of the bronze tables, which are the sources of silver's rows."""
