"""Rereads rows of an older catalogue: it had no column for a value, which is in ``_rescued_data``, and this catalogue has one.

A copy of such a row, read by this catalogue, would differ from it although the event is the same. Pure functions on frames of one silver
table. Changing the rows in the lake is the task of a backfill.
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, Column, event_of_table
from mg_lakehouse.events.strict.cast import in_one_form, parse_cell

__all__ = ["may_be_older", "reread"]


def may_be_older() -> pl.Expr:
    """Whether an older catalogue may have read a row differently: only rescued values can have got a column since."""
    return pl.col("_rescued_data").is_not_null()


def reread(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    """Return the rows that this catalogue reads differently from an older one, as it reads them: each column takes its element.

    Lists of errors stay as they are, for their rescued part is XML, not text.
    """
    columns = [column for column in _filled(table) if column.name in rows.columns]
    older = rows.filter(may_be_older())
    taken = [_taken(row, columns) for row in older.select("_rescued_data", *(column.name for column in columns)).iter_rows(named=True)]
    if not any(texts for texts, _ in taken):
        return rows.clear()
    cells = {column.name: pl.Series([texts.get(column.name) for texts, _ in taken], dtype=pl.String) for column in columns}
    cells |= {column.name: in_one_form(cells[column.name]) for column in columns if column.type == "timestamp"}
    # A text that does not parse is rescued by this catalogue too.
    parsed = {column.name: pl.select(parse_cell(pl.lit(cells[column.name]), column.type)).to_series() for column in columns}
    read = older.with_columns(
        pl.col(name).fill_null(pl.lit(values)) for name, values in parsed.items() if values.null_count() < values.len()
    ).with_columns(_rescued_data=pl.Series([rescued for _, rescued in taken], dtype=pl.String))
    kept = [all(not text or parsed[name][place] is not None for name, text in texts.items()) for place, (texts, _) in enumerate(taken)]
    changed = [bool(texts) for texts, _ in taken]
    return read.filter(pl.Series(kept, dtype=pl.Boolean) & pl.Series(changed, dtype=pl.Boolean))


def _filled(table: str) -> list[Column]:
    """List the columns that hold an element's text, except those that every row has."""
    columns = (*COMMON_COLUMNS, *event_of_table(table).columns)
    return [column for column in columns if column.elements and not column.required and column.type != "errors"]


def _taken(row: dict[str, Any], columns: list[Column]) -> tuple[dict[str, str], str | None]:
    """Return the texts that columns take from ``_rescued_data``, by column, and what stays there."""
    rescued: dict[str, Any] = json.loads(row["_rescued_data"])
    texts: dict[str, str] = {}
    for column in columns:
        name = next((name for name in column.elements if name in rescued), None)
        if row[column.name] is not None or name is None:
            continue
        first, *rest = rescued[name] if isinstance(rescued[name], list) else [rescued[name]]
        texts[column.name] = first
        if rest:
            rescued[name] = rest[0] if len(rest) == 1 else rest
        else:
            del rescued[name]
    return texts, json.dumps(rescued, ensure_ascii=False) if rescued else None
