"""The keys of a build: which jobs, and which days of what belongs to no job, a model looks at and replaces.

Most models of a refresh are affected by the same changes. Their keys are found once, and the views of their inputs are made once, in one schema that
these models share. Where the rows behind the keys are too many, they are cut into chunks.
No row of a model depends on more than one key, so its keys can be built one chunk after the other. DuckDB needs some 1.5 KB for each event that it makes
messages of: 100 M at a time are out of the question on any small machine. Chunks follow each other by the day on which a job began, so that the rows of one
lie in few files. A job is never cut: a chunk ends with the job that fills it, however large that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final

import duckdb

from mg_lakehouse.gold.contract import DAYS, REQUESTS
from mg_lakehouse.gold.job_files import JobDays
from mg_lakehouse.gold.model import Keys, Model

__all__ = ["KeysOfBuild", "chunk_keys", "count_rows", "cut", "days_of", "job_days_of"]

_NO_KEYS: Final = (
    "select cast(null as varchar) as request_id, cast(null as date) as event_date, cast(null as date) as received_date where false"
)


class KeysOfBuild:
    """The keys that changes of silver affect, each found once. Not safe to use from several threads at once."""

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._cursor = cursor
        self._known: dict[tuple[tuple[str, ...], bool], Keys] = {}

    def of(self, feeds: Sequence[str], more: str | None, *, schema: str, with_days: bool) -> Keys:
        """The jobs, and ``with_days`` the days without one, that some changes name.

        Args:
            feeds: the DuckDB tables of the changed keys of silver.
            more: a DuckDB table of ``request_id, event_date`` that are affected besides, if there are any.
            schema: where keys stand that no other model has.
            with_days: whether the model has rows without a job.
        """
        known = self._of_feeds(tuple(feeds), with_days=with_days)
        if more is None or not self._has_others(more, known, with_days=with_days):
            return known
        return self._make(schema, [*feeds, more], change=object(), with_days=with_days)

    def _of_feeds(self, feeds: tuple[str, ...], *, with_days: bool) -> Keys:
        if (feeds, with_days) not in self._known:
            schema = f"scope_of_changes_{len(self._known)}"
            self._known[feeds, with_days] = self._make(schema, feeds, change=feeds, with_days=with_days)
        return self._known[feeds, with_days]

    def _has_others(self, more: str, known: Keys, *, with_days: bool) -> bool:
        others = f"select 1 from {more} where request_id is not null and request_id not in (from {known.requests_table})"
        if with_days:
            others += f" union all select 1 from {more} where request_id is null and event_date not in (from {known.days_table})"
        return self._cursor().execute(f"from ({others}) limit 1").fetchone() is not None

    def _make(self, schema: str, tables: Sequence[str], *, change: object, with_days: bool) -> Keys:
        cursor = self._cursor()
        changed = " union all by name ".join([_NO_KEYS, *(f"from {table}" for table in tables)])
        cursor.execute(f"create schema if not exists {schema}")
        cursor.execute(
            f"create or replace table {schema}.{REQUESTS} as select distinct request_id from ({changed}) where request_id is not null order by 1"
        )
        days = (
            f"select distinct event_date from ({changed}) where {str(with_days).lower()} and request_id is null and event_date is not null"
        )
        cursor.execute(f"create or replace table {schema}.{DAYS} as {days} order by 1")
        return read_keys(cursor, schema, change=change)


def read_keys(cursor: duckdb.DuckDBPyConnection, schema: str, *, change: object = None, chunks: int = 0) -> Keys:
    """The keys in the tables of a schema."""
    requests = [str(row[0]) for row in cursor.execute(f"from {schema}.{REQUESTS}").fetchall()]
    days, has_others = days_of(cursor, f"from {schema}.{DAYS} order by 1")
    return Keys(schema, requests, days, change, has_others, chunks)


def count_rows(cursor: duckdb.DuckDBPyConnection, table: str, rows: str, day: str | None) -> None:
    """Make the DuckDB table ``table`` of how many of some ``rows`` each key has: ``request_id, day, rows``. It reads two columns."""
    cursor.execute(
        f"create or replace table {table} as select request_id, {day or 'cast(null as date)'} as day, count(*) as rows from {rows} group by all"
    )


def cut(cursor: duckdb.DuckDBPyConnection, model: Model, counted: Mapping[str, str], chunk_rows: int) -> int:
    """Cut a model's keys by their rows in its inputs, and return the number of chunks, at least one.

    ``counted`` are by input the tables of :func:`count_rows`.
    """
    every_count = " union all ".join(f"from {table}" for table in counted.values())
    orphans = "" if model.orphan_day is None else " or day is not null"
    cursor.execute(
        f"""
        create or replace table {model.chunk_schema}.cut as
        with keys as (
            select request_id, case when request_id is null then day end as orphan_day, min(day) as first_day, sum(rows) as rows
            from ({every_count})
            where request_id is not null{orphans}
            group by all
        ),
        places as (
            select *, (sum(rows) over (order by first_day nulls first, request_id rows unbounded preceding) - rows) // {chunk_rows} as place
            from keys
        )
        select request_id, orphan_day, dense_rank() over (order by place) - 1 as part from places
        """
    )
    last = cursor.execute(f"select max(part) from {model.chunk_schema}.cut").fetchone()
    return 1 if last is None or last[0] is None else int(last[0]) + 1


def chunk_keys(cursor: duckdb.DuckDBPyConnection, model: Model, number: int, *, chunks: int) -> Keys:
    """The keys of a chunk, counted from 0."""
    of_chunk = f"from {model.chunk_schema}.cut where part = {number}"
    cursor.execute(
        f"create or replace table {model.chunk_schema}.{REQUESTS} as select request_id {of_chunk} and request_id is not null order by 1"
    )
    cursor.execute(
        f"create or replace table {model.chunk_schema}.{DAYS} as select orphan_day as event_date {of_chunk} and request_id is null order by 1"
    )
    return read_keys(cursor, model.chunk_schema, chunks=chunks)


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
