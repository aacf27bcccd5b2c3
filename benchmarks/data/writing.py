"""Silver rows written as the feed's XML again, so that a micro-batch that fits a history can go through the pipeline."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, Column, event_of_table
from mg_lakehouse.events.schemas import TIMESTAMP, silver_schema

__all__ = ["bundled"]

_TO_A_MESSAGE = 10


def bundled(tables: Iterable[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """Bodies of ten items each, by the time of the events: columns ``body`` and ``items``. Columns of error lists are left out."""
    items = pl.concat(rows.select("event_at", item=_item(table)) for table, rows in tables).sort("event_at", maintain_order=True)
    bundles = items.group_by(pl.int_range(pl.len()) // _TO_A_MESSAGE, maintain_order=True).agg(pl.col("item").str.join(""), items=pl.len())
    return bundles.select(body=pl.format("<ActivityItems>{}</ActivityItems>", "item"), items=pl.col("items").cast(pl.Int64))


def _item(table: str) -> pl.Expr:
    event = event_of_table(table)
    children = [_child(column, table) for column in (*COMMON_COLUMNS, *event.columns) if column.elements and column.type != "errors"]
    element = event.elements[0]
    return pl.format(f"<{element}>{{}}</{element}>", pl.concat_str(children, ignore_nulls=True))


def _child(column: Column, table: str) -> pl.Expr:
    text = pl.col(column.name)
    if silver_schema(table)[column.name] == TIMESTAMP:
        text = text.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    escaped = text.cast(pl.String).str.replace_all("&", "&amp;", literal=True).str.replace_all("<", "&lt;", literal=True)
    name = column.elements[0]
    return pl.format(f"<{name}>{{}}</{name}>", escaped)
