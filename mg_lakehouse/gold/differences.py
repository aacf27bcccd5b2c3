"""Which of the rows that a refresh made are to be written, for a table that mostly grows.

A job's events stay as they are when others come: of 450,000 rows of 20 jobs a refresh changes some 10,000. To replace the jobs would write all of them
again, and whatever else lies in their files. So what was made is compared with what the table has: where no row of a job went, its new rows are added.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import duckdb

from mg_lakehouse.gold.model import Model
from mg_lakehouse.lake.sql import identifier

__all__ = ["Differences", "differences"]

_KNOWN: Final = "known_rows"
_NEW: Final = "new_rows"


class Differences(NamedTuple):
    """What is to be written.

    ``requests`` are the jobs, sorted, of which a row went or is another now, and ``of_no_job`` says the same of what belongs to no job: those are to be
    replaced, by ``replacing_rows``. ``new_rows`` are those that the table lacks of the others. Both are sources of a ``from``.
    """

    requests: list[str]
    of_no_job: bool
    replacing_rows: str
    new_rows: str


def differences(cursor: duckdb.DuckDBPyConnection, model: Model, known: str, staged: str) -> Differences:
    """Compare the rows that a model's table has of some keys with those that were made of them.

    Rows of one key are told apart by 64 bits of their hash: to compare them column by column took six times as long.

    Args:
        cursor: a cursor of the build's database; tables of the comparison stand in the model's schema.
        model: the model, with ``keys``.
        known: the rows that the table has, as a source of a ``from``.
        staged: the DuckDB table of those that were made.
    """
    columns = ", ".join(identifier(name) for name in model.spec.schema)
    keys = [identifier(name) for name in model.keys]
    known_rows, new_rows = f"{model.schema}.{_KNOWN}", f"{model.schema}.{_NEW}"
    cursor.execute(f"create schema if not exists {model.schema}")
    cursor.execute(
        f"create or replace table {known_rows} as select request_id, {', '.join(keys)}, hash({columns}) as row_hash from {known}"
    )
    made = f"(select rowid as row_number, {', '.join(keys)}, hash({columns}) as row_hash from {staged})"
    same = " and ".join(f"made.{name} is not distinct from known.{name}" for name in (*keys, "row_hash"))
    cursor.execute(f"create or replace table {new_rows} as select row_number from {made} as made anti join {known_rows} as known on {same}")
    lost = cursor.execute(f"select distinct request_id from {known_rows} as known anti join {made} as made on {same} order by 1").fetchall()
    requests = [str(request) for (request,) in lost if request is not None]
    of_no_job = len(requests) < len(lost)
    cursor.execute(f"create or replace table {known_rows} as select unnest(?::varchar[]) as request_id", [requests])
    is_replaced = f"case when request_id is null then {of_no_job} else request_id in (from {known_rows}) end"
    return Differences(
        requests,
        of_no_job,
        f"(from {staged} where {is_replaced})",
        f"(from {staged} where rowid in (from {new_rows}) and not {is_replaced})",
    )
