"""Chunks of a gold model: its keys, split so that each chunk reads about ``part_rows`` rows of its inputs.

DuckDB needs some 1.5 KB for each event that it makes messages of: 100 M at a time are out of the question on any small machine.
No row of a model depends on more than one key, so its keys can be built one part after the other. Parts follow each other by the day on
which a job began, so that a part's rows lie in few files. A job is never cut: a part ends with the job that fills it, however large that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb

from mg_lakehouse.gold.job_files import JobDays
from mg_lakehouse.gold.model import Keys, Model

__all__ = ["PART", "chunk_keys", "count_rows", "cut", "days_of", "job_days_of"]

PART = "part_"
"""Name of the keys of the part at hand."""


def count_rows(cursor: duckdb.DuckDBPyConnection, table: str, rows: str, day: str | None) -> None:
    """Make the DuckDB table ``table`` of how many of some ``rows`` each key has: ``request_id, day, rows``. It reads two columns."""
    cursor.execute(
        f"create or replace table {table} as select request_id, {day or 'cast(null as date)'} as day, count(*) as rows from {rows} group by all"
    )


def cut(cursor: duckdb.DuckDBPyConnection, model: Model, counted: Mapping[str, str], part_rows: int) -> int:
    """Cut a model's keys by their rows in its inputs, and return the number of parts, at least one.

    ``counted`` are by input the tables of :func:`count_rows`.
    """
    every_count = " union all ".join(f"from {table}" for table in counted.values())
    orphans = "" if model.orphan_day is None else " or day is not null"
    cursor.execute(
        f"""
        create or replace table {model.schema}.cut as
        with keys as (
            select request_id, case when request_id is null then day end as orphan_day, min(day) as first_day, sum(rows) as rows
            from ({every_count})
            where request_id is not null{orphans}
            group by all
        ),
        places as (
            select *, (sum(rows) over (order by first_day nulls first, request_id rows unbounded preceding) - rows) // {part_rows} as place
            from keys
        )
        select request_id, orphan_day, dense_rank() over (order by place) - 1 as part from places
        """
    )
    last = cursor.execute(f"select max(part) from {model.schema}.cut").fetchone()
    return 1 if last is None or last[0] is None else int(last[0]) + 1


def chunk_keys(cursor: duckdb.DuckDBPyConnection, model: Model, counted: Mapping[str, str], part: int) -> Keys:
    """The keys of a part, counted from 0."""
    requests, days = f"{model.schema}.{PART}requests", f"{model.schema}.{PART}days"
    of_part = f"from {model.schema}.cut where part = {part}"
    cursor.execute(f"create or replace table {requests} as select request_id {of_part} and request_id is not null order by 1")
    cursor.execute(f"create or replace table {days} as select orphan_day as event_date {of_part} and request_id is null order by 1")
    return Keys(
        PART,
        [str(row[0]) for row in cursor.execute(f"from {requests}").fetchall()],
        days_of(cursor, f"from {days}")[0],
        {name: job_days_of(cursor, f"select request_id, day from {table}", requests) for name, table in counted.items()},
    )


def days_of(cursor: duckdb.DuckDBPyConnection, query: str) -> tuple[list[date], bool]:
    """The days that a query gives, which has one column, and whether there are others, beyond Python's years.

    An older release took such times, and no build of gold went through with one. This release rejects them, but meets them in what silver has
    already, and in its change feed when a backfill has removed them. DuckDB gives their text.
    """
    values = [value for (value,) in cursor.execute(query).fetchall()]
    days = [value for value in values if isinstance(value, date)]
    return days, len(days) < len(values)


def job_days_of(cursor: duckdb.DuckDBPyConnection, pairs: str, requests: str) -> JobDays:
    """The days of the jobs in the table ``requests``, of a query of ``request_id`` and day; pairs without a day do not count."""
    rows = cursor.execute(
        f"select day, min(request_id), max(request_id) from ({pairs}) as pairs(request_id, day) "
        f"where request_id in (select request_id from {requests}) and day is not null group by day"
    ).fetchall()
    return JobDays.from_rows(row for row in rows if isinstance(row[0], date))  # see `days_of`
