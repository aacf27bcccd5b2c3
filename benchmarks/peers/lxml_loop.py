"""Peer (a): a straightforward lxml loop to Polars to Delta, as a competent data engineer writes it.

One parse and one dictionary per event, one frame per table with the contract's columns and types, one append per table.
It reads what is documented. What it leaves out is what makes the difference elsewhere: a body that does not parse stops it, it
looks for copies within the batch only, and a crash between two appends leaves it to guess.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable, write_deltalake
from lxml import etree

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, Event
from mg_lakehouse.events.schemas import ERRORS, TIMESTAMP, silver_schema

__all__ = ["bronze_to_silver", "flatten"]

_BY_ELEMENT: Final = {element: event for event in EVENTS for element in event.elements}
_CHILDREN: Final = {
    event.table: {
        element: column.name for column in (*COMMON_COLUMNS, *event.columns) for element in column.elements if column.type != "errors"
    }
    for event in EVENTS
}
_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)


def flatten(messages: pl.DataFrame, *, source: str) -> dict[str, pl.DataFrame]:
    """Typed frames by table of bronze's ``message_id``, ``body``, ``received_at`` and ``received_date``."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message_id, body, received_at, received_date in messages.select("message_id", "body", "received_at", "received_date").iter_rows():
        lineage = {"source": source, "message_id": message_id, "received_at": received_at, "received_date": received_date}
        for item_index, item in enumerate(etree.fromstring(body.encode(), _PARSER)):
            event = _event_of(item)
            rows[event.table].append(_row(item, event) | lineage | {"item_index": item_index})
    return {table: _typed(found, table) for table, found in rows.items()}


def bronze_to_silver(bronze: Path, silver: Path) -> dict[str, int]:
    """Read a bronze table, flatten it, append each table to Delta; returns rows by table."""
    messages = pl.DataFrame(DeltaTable(str(bronze)).to_pyarrow_table(columns=["message_id", "body", "received_at", "received_date"]))
    counts = {}
    for table, rows in flatten(messages, source="event_feed").items():
        unique = rows.unique("activity_id", keep="first", maintain_order=True)
        write_deltalake(str(silver / table), unique, mode="append", partition_by=["received_date"])
        counts[table] = unique.height
    return counts


def _local(node: etree._Element) -> str:
    name: str = node.tag  # type: ignore[assignment]  # a name always: comments were removed
    return name.rpartition("}")[2]


def _event_of(item: etree._Element) -> Event:
    event = _BY_ELEMENT[_local(item)]
    if (other := event.reclassify) and not any(_local(child) in other.without for child in item):
        return next(each for each in EVENTS if each.table == other.table)
    return event


def _row(item: etree._Element, event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {}
    columns, rest, errors = _CHILDREN[event.table], {}, []
    for child in item:
        name = _local(child)
        if (column := columns.get(name)) is not None:
            row[column] = (child.text or "").strip() or None
        elif name == "RenderErrors":
            errors += [_error(each) for each in child]
        elif name == "JobError":
            errors.append(_error(child))
        else:
            rest[name] = (child.text or "").strip()
    if errors:
        row["errors"] = errors
    if rest:
        row["_rescued_data"] = json.dumps(rest, ensure_ascii=False)
    if event.table == "context_misses":
        row["is_inferred"] = _local(item) not in event.elements
    return row


def _error(node: etree._Element) -> dict[str, str | None]:
    texts = {_local(child): (child.text or "").strip() for child in node}
    return {"error_code": texts.get("ErrorCode") or None, "error_message": texts.get("ErrorMessage") or None}


def _typed(rows: list[dict[str, Any]], table: str) -> pl.DataFrame:
    schema = silver_schema(table)
    as_read = {name: pl.String() if _is_text(name, dtype) else dtype for name, dtype in schema.items()}
    frame = pl.DataFrame(rows, schema=as_read).with_columns(utc_offset_minutes=_offset(pl.col("event_at")))
    times = [name for name, dtype in schema.items() if dtype == TIMESTAMP and as_read[name] == pl.String]
    return (
        frame.with_columns(_time(pl.col(name)).alias(name) for name in times)
        .with_columns(event_date=pl.col("event_at").dt.date())
        .with_columns(_boolean(pl.col(name)).alias(name) for name, dtype in schema.items() if dtype == pl.Boolean and name != "is_inferred")
        .select(schema.names())
        .cast(schema)
    )


def _is_text(name: str, dtype: pl.DataType) -> bool:
    """What comes as text: all but the lineage and what the row function derived."""
    return name not in ("item_index", "received_at", "received_date", "is_inferred", "utc_offset_minutes") and dtype != ERRORS


def _time(text: pl.Expr) -> pl.Expr:
    with_offset = text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    without = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    return pl.coalesce(with_offset, without)


def _offset(text: pl.Expr) -> pl.Expr:
    parts = text.str.extract_groups(r"([+-])(\d{2}):(\d{2})$").struct
    minutes = parts[1].cast(pl.Int64) * 60 + parts[2].cast(pl.Int64)
    return pl.when(text.str.ends_with("Z")).then(0).when(parts[0] == "-").then(-minutes).otherwise(minutes)


def _boolean(text: pl.Expr) -> pl.Expr:
    return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
