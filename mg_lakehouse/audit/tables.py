"""Declares the table that an audit writes: ``gold/reconciliation``. The dbt project declares the other gold tables."""

from __future__ import annotations

from typing import Final

import polars as pl

from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.tables import TableSpec
from mg_lakehouse.location import VENDOR_TOTALS_NAME

__all__ = ["VENDOR_TOTALS"]

VENDOR_TOTALS: Final = TableSpec(
    layer="gold",
    name=VENDOR_TOTALS_NAME,
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
