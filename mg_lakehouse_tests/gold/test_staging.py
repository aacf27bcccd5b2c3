"""The rows of a gold model on their way to the commit: in the order of their jobs, whatever parts they were made in, as often as asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mg_lakehouse.gold.staging import StagedRows
from mg_lakehouse.lake import duck

Row = tuple[str | None, int]

PARTS: Sequence[Sequence[Row]] = (
    [("t-1", 4), ("b-1", 3), ("b-1", 1), (None, 2), (None, 1)],
    [("d-2", 1)] * 6,
    [],
    [("b-2", 9), ("t-0", 2), ("it's", 5), (None, 7)],
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"preserve_insertion_order": "false"}) as connection:
        connection.execute("create schema staged")
        yield connection


def stage(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    connection.execute("create table staged.numbers (request_id varchar, number bigint, days date[])")
    for row in rows:
        connection.execute("insert into staged.numbers values (?, ?, [date '2026-03-10'])", list(row))


def read(staged: StagedRows) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in staged.rows().read_all().select(["request_id", "number"]).to_pylist()]


@pytest.mark.parametrize("part_rows", [1, 4, 1_000_000])
def test_rows_of_parts_come_in_the_order_of_their_jobs(connection: duckdb.DuckDBPyConnection, part_rows: int) -> None:
    staged = StagedRows(
        connection.cursor, connection.cursor, "numbers", ["request_id", "number"], part_rows=part_rows, folder=Path(duck.private_folder())
    )
    for rows in PARTS:
        stage(connection, rows)
        staged.spill()
    assert staged.parts == 4
    wanted = sorted(row for rows in PARTS for row in rows if row[0] is not None)
    # What belongs to no job comes last, in the order of the parts, which follow each other by day.
    wanted += [(None, 1), (None, 2), (None, 7)]
    # A commit that is tried again reads them again.
    assert [read(staged), read(staged)] == [wanted, wanted]
    staged.remove()


def test_rows_that_belong_to_no_job_alone_are_all_there(connection: duckdb.DuckDBPyConnection) -> None:
    staged = StagedRows(
        connection.cursor, connection.cursor, "numbers", ["request_id", "number"], part_rows=1, folder=Path(duck.private_folder())
    )
    for rows in ([(None, 2), (None, 1)], [(None, 3)]):
        stage(connection, rows)
        staged.spill()
    assert read(staged) == [(None, 1), (None, 2), (None, 3)]
    staged.remove()


def test_rows_of_one_part_never_leave_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    staged = StagedRows(
        connection.cursor, connection.cursor, "numbers", ["request_id", "number"], part_rows=1, folder=Path(duck.private_folder())
    )
    stage(connection, PARTS[0])
    wanted = [("b-1", 1), ("b-1", 3), ("t-1", 4), (None, 1), (None, 2)]
    assert [read(staged), read(staged)] == [wanted, wanted]
    assert staged.parts == 0


def test_the_columns_are_the_same_with_parts_and_without(connection: duckdb.DuckDBPyConnection) -> None:
    staged = StagedRows(
        connection.cursor, connection.cursor, "numbers", ["request_id", "number"], part_rows=1, folder=Path(duck.private_folder())
    )
    stage(connection, PARTS[0])
    whole = staged.rows().schema
    staged.spill()
    assert staged.rows().schema.equals(whole)
    staged.remove()
