"""SQL text: what a value becomes is that value to DuckDB, whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest

from mg_lakehouse.lake.sql import Value, date_list, file_list, filled_in, identifier, literal, replace_predicate, text


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "it's",
        "'; drop table t; --",
        "$first",
        "\\",
        "line\nend",
        7,
        -1,
        True,
        date(2026, 3, 1),
        datetime(2026, 3, 1, 12, 30, 0, 123_456, tzinfo=UTC),
        ["it's", "b", ""],
    ],
)
def test_a_literal_is_its_value(value: Value) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(f"select {literal(value)}").fetchone()
    assert found == (value,)


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    at = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    with duckdb.connect() as connection:
        assert connection.execute(f"select epoch({literal(at)})").fetchone() == (at.timestamp(),)


@pytest.mark.parametrize("name", ["plain", 'with "quotes"', "with 'quotes'", "select", "two words"])
def test_an_identifier_is_a_name(name: str) -> None:
    with duckdb.connect() as connection:
        assert [column[0] for column in connection.execute(f"select 1 as {identifier(name)}").description or []] == [name]


def test_each_named_value_is_filled_in_wherever_it_stands_and_no_text_is_read_for_names() -> None:
    sql = "select $most, $job, list_contains($jobs, $job), $most"
    with duckdb.connect() as connection:
        found = connection.execute(filled_in(sql, {"most": 5, "job": "costs $most", "jobs": ["costs $most"]})).fetchone()
    assert found == (5, "costs $most", True, 5)


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(KeyError, match="last"):
        filled_in("select $first, $last", {"first": date(2026, 3, 1)})


def test_a_file_is_no_pattern() -> None:
    assert file_list(["/lake/a?b*[c].parquet"]) == "['/lake/a[?]b[*][[]c].parquet']"


def test_dates_stand_in_the_parentheses_of_an_in() -> None:
    assert date_list([date(2026, 3, 1), date(2026, 3, 2)]) == "DATE '2026-03-01', DATE '2026-03-02'"


@pytest.mark.parametrize(
    "keys", [["a"], ["b", "a"], ["it's", "its", "J-1", "J-2", "zz"], [f"job-{number:03}" for number in range(0, 90, 3)]]
)
def test_a_predicate_of_keys_selects_them_and_no_others(keys: Sequence[str]) -> None:
    every = sorted({*keys, *(f"{key}0" for key in keys), *(key[:-1] for key in keys)})
    with duckdb.connect() as connection:
        connection.execute("create table t as select unnest(?) as key", [every])
        found = connection.execute(f"select key from t where {replace_predicate('key', keys)} order by key").fetchall()
    assert [key for (key,) in found] == sorted(keys)
    assert text(keys[0]) in replace_predicate("key", keys)
