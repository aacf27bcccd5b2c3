"""Messages put straight into bronze, for tests of what lies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse.bronze.append import BatchReceipt, append_batch
from mg_lakehouse.bronze.tables import BRONZE_SCHEMA, LOADED_FILES, LOADED_SCHEMA
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def bundles(count: int) -> list[str]:
    """Bodies that all differ and hold no item."""
    return [f"<ActivityItems><!-- {number} --></ActivityItems>" for number in range(count)]


def batch(bodies: dict[str, str], *, batch_id: str, sent_at: datetime = START, received_at: datetime = START) -> pl.DataFrame:
    """Rows of bronze for bodies by message id."""
    rows = [
        (
            message_id,
            body,
            "0" * 64,
            sent_at,
            received_at + timedelta(milliseconds=index),
            1,
            "{}",
            "feed",
            batch_id,
            received_at.date(),
            None,
        )
        for index, (message_id, body) in enumerate(bodies.items())
    ]
    return pl.DataFrame(rows, BRONZE_SCHEMA, orient="row")


def receive(lake: Lake, bodies: Sequence[str], *, first: int = 0, received_at: datetime = START) -> BatchReceipt:
    """Commit bodies to bronze as messages ``m<first>``, …"""
    named = {f"m{first + index}": body for index, body in enumerate(bodies)}
    batch_id = f"batch-{first}"
    return append_batch(lake, batch(named, batch_id=batch_id, sent_at=received_at, received_at=received_at), batch_id)


def load(lake: Lake, bodies: Sequence[str], *, first: int = 0, received_at: datetime = START) -> BatchReceipt:
    """Commit bodies to bronze as bundles ``b<first>``, … of a loaded file."""
    named = {f"b{first + index}": body for index, body in enumerate(bodies)}
    batch_id = f"loaded-{first}"
    rows = batch(named, batch_id=batch_id, sent_at=received_at, received_at=received_at).with_columns(part=0, file_name=pl.lit("feed.xml"))
    return append_batch(lake, rows.select(LOADED_SCHEMA.names()).cast(LOADED_SCHEMA), batch_id, table=LOADED_FILES)


def fill(lake: Lake, opens: int, *, first: int = 0) -> None:
    """Commit opens ``o<first>``, … of the job ``t1`` to bronze and silver."""
    items = [item("OpenActivity", ActivityId=f"o{number}", RequestId="t1") for number in range(first, first + opens)]
    receive(lake, [bundle(*items)], first=first)
    flatten_new(lake)


def rows_of(lake: Lake, layer: str, table: str) -> pl.DataFrame:
    """All rows of a table."""
    return pl.read_delta(f"{lake.root}/{layer}/{table}")


def add_clicks(lake: Lake, source: str = "event_feed", /, **activities: datetime) -> DeltaTable:
    """Add a file of clicks, each with its id and time, as another program would: without progress or ledger."""
    handle = lake.ensure(silver_spec("clicks"))
    rows = pl.DataFrame(
        [{"activity_id": name, "event_at": at, "source": source, "received_date": at.date()} for name, at in activities.items()],
        schema=silver_schema("clicks"),
    )
    write_deltalake(handle, rows.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
    return handle
