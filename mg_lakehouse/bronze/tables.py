"""What the bronze and silver tables are created with: schema, partitioning, statistics, comments.

Derived from the catalogue. Gold tables are declared by the dbt project, but for the one that compares what dbt cannot ask for.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import polars as pl

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE, columns_of, event_of_table
from mg_lakehouse.events.schemas import ACTIVITY_SCHEMA, BRONZE_SCHEMA, LOADED_SCHEMA, TIMESTAMP, silver_schema
from mg_lakehouse.gold.names import RECONCILIATION_NAME
from mg_lakehouse.lake.lake import TableSpec

__all__ = ["ACCOUNT_ACTIVITY", "BRONZE_SPECS", "BRONZE_TABLES", "EVENT_FEED", "LOADED_FILES", "RECONCILIATION", "silver_spec"]

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


RECONCILIATION: Final = TableSpec(
    layer="gold",
    name=RECONCILIATION_NAME,
    schema=pl.Schema(
        {
            "activity_date": pl.Date(),
            "request_id": pl.String(),
            "compared_with": pl.String(),
            "metric": pl.String(),
            "ours": pl.Int64(),
            "ours_distinct": pl.Int64(),
            "theirs": pl.Int64(),
            "difference": pl.Int64(),
            "difference_rate": pl.Float64(),
            "lost_by_the_queue": pl.Int64(),
            "reasons": pl.List(pl.String()),
            "is_explained": pl.Boolean(),
            "compared_at": TIMESTAMP,
        }
    ),
    stats_columns=("activity_date", "request_id", "compared_at"),
    partition_by=(),
    description="What the lake has of a day or a bulk job, beside MessageGears' daily files and its own summaries, and what explains a difference.",
    comments={
        "activity_date": "Day of the events, or of the job's first send, in MG_ACTIVITY_TIMEZONE.",
        "request_id": "The bulk job; null where all of the day's events are compared.",
        "compared_with": "activity_file, account_summary or bulk_job_summary.",
        "metric": "Type of the daily file, or counter of the summary, in lower case.",
        "ours": "Events of the day in silver, or the job's number in gold/job_metrics; null where the feed has no event of it.",
        "ours_distinct": "The same, each message or recipient once; null where that makes no sense.",
        "theirs": "What MessageGears says; null where it said nothing.",
        "difference": "ours - theirs.",
        "difference_rate": "difference / theirs; null where theirs is 0.",
        "lost_by_the_queue": "Events that only the daily file brought. They are among ours.",
        "reasons": "What accounts for the difference, or for there being one number only.",
        "is_explained": "Whether there is no difference or a reason for it; null where there is one number only.",
        "compared_at": "When it was compared, in UTC.",
    },
)
"""Its primary key is ``activity_date``, ``request_id``, ``compared_with`` and ``metric``. The other tables of gold are dbt's."""


_OF_NO_EVENT: Final = {
    REJECTED_ITEMS: "What could not become a row of an event table, and why.",
    SET_ASIDE: "Messages that could not be flattened for a reason that nobody foresaw; bronze has them, and `mg-lakehouse retry` flattens them again.",
}


@cache
def silver_spec(table: str) -> TableSpec:
    """What a silver table is created with.

    Raises:
        KeyError: the catalogue has no such table.
    """
    description = _OF_NO_EVENT.get(table)
    return TableSpec(
        layer="silver",
        name=table,
        schema=silver_schema(table),
        stats_columns=("message_id", "received_at") if description else ("event_at", "request_id", "received_at", "source"),
        description=description or event_of_table(table).description,
        comments={column.name: column.description for column in columns_of(table)},
    )
