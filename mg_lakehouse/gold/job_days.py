"""On which days the jobs that a build touches have events, where gold can prove that it knows all of them.

Two gold tables tell the days of a job: ``job_metrics_daily`` has a row for every day with an event of a message, ``dim_jobs`` the first and
the last event of any kind. Each knows what its own silver versions held; what came since stands in the change feed. Together they are complete
where the feed can be read from those versions on, and only then are they used to leave files out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import duckdb

from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.gold.changes import SilverTables
from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.contract import DIM_JOBS, JOB_METRICS_DAILY
from mg_lakehouse.gold.job_files import Files, JobDays, read_files
from mg_lakehouse.gold.keys import job_days_of

__all__ = ["DAYS_OF_JOBS", "DAYS_OF_MESSAGES", "DaysOfJobs", "known_days"]

_LONGEST_DAYS: Final = 3_660
"""A job that lasts longer has a wrong time somewhere; its days are not worth writing out."""


class DaysOfJobs(NamedTuple):
    """A gold table that knows the days of jobs: their events in which silver tables, and the first and the last day of a row, as SQL."""

    name: str
    silver: tuple[str, ...]
    first_day: str
    last_day: str


DAYS_OF_MESSAGES: Final = DaysOfJobs(
    JOB_METRICS_DAILY, tuple(event.table for event in EVENTS if event.channel is not None), "event_date", "event_date"
)
DAYS_OF_JOBS: Final = DaysOfJobs(
    DIM_JOBS, tuple(event.table for event in EVENTS), "cast(first_event_at as date)", "cast(last_event_at as date)"
)


def known_days(
    known: DaysOfJobs,
    made: GoldTable,
    files: Files,
    silver: SilverTables,
    cursor: Callable[[], duckdb.DuckDBPyConnection],
    *,
    requests: Sequence[str],
    table: str,
) -> JobDays | None:
    """All days of some jobs, or ``None`` where it cannot be proved that they are all.

    ``made`` is the gold table, made by the definitions of this build, and ``files`` are its files; ``requests`` are the jobs, sorted, and ``table`` the
    DuckDB table that holds them too.
    """
    if not set(known.silver) <= set(made.silver):
        return None
    now = silver.included(known.silver)
    feeds = [silver.changes(name, made.silver[name], now[name]) for name in known.silver]
    if any(feed is None for feed in feeds):
        return None
    pairs = [f"select request_id, event_date from {feed}" for feed in feeds if feed]
    if holding := files.holding(requests):
        rows = f"(from {read_files(holding)} where request_id in (select request_id from {table}))"
        longest = cursor().execute(f"select max({known.last_day} - {known.first_day}) from {rows}").fetchone()
        if longest is not None and longest[0] is not None and longest[0] > _LONGEST_DAYS:
            return None
        days = f"generate_series({known.first_day}, {known.last_day}, interval 1 day)"
        pairs.append(f"select request_id, cast(unnest({days}) as date) from {rows}")
    return job_days_of(cursor(), " union all ".join(pairs), table) if pairs else JobDays([], [])
