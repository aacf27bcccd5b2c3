"""The contract of silver: what users query by name, so that a change of it is never an accident."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from mg_lakehouse.events.catalogue import EVENTS, columns_of, silver_tables
from mg_lakehouse.events.schemas import silver_schema

CONTRACT: dict[str, dict[str, str]] = json.loads((Path(__file__).parents[1] / "fixtures" / "silver_contract.json").read_text())

ERRORS = pl.List(pl.Struct({"error_code": pl.String, "error_message": pl.String}))
DTYPES = {
    "string": pl.String,
    "int": pl.Int64,
    "timestamp": pl.Datetime("us", "UTC"),
    "date": pl.Date,
    "bool": pl.Boolean,
    "errors": ERRORS,
}


def test_tables_columns_types_and_order_are_the_contract() -> None:
    assert {table: {column.name: column.type for column in columns_of(table)} for table in silver_tables()} == CONTRACT
    # Dictionaries compare without order; the order of columns is part of the contract.
    assert {table: [column.name for column in columns_of(table)] for table in silver_tables()} == {t: list(c) for t, c in CONTRACT.items()}


def test_frames_have_the_types_of_the_contract() -> None:
    for table, columns in CONTRACT.items():
        assert dict(silver_schema(table)) == {name: DTYPES[kind] for name, kind in columns.items()}


def test_no_element_belongs_to_two_events() -> None:
    elements = [element for event in EVENTS for element in event.elements]
    assert len(elements) == len(set(elements))


def test_every_column_is_described() -> None:
    assert all(column.description.endswith(".") for table in silver_tables() for column in columns_of(table))
