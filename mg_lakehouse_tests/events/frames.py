"""Bronze frames for tests of the flattening."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.events.schemas import TIMESTAMP

RECEIVED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

_SCHEMA = pl.Schema({"message_id": pl.String(), "body": pl.String(), "received_at": TIMESTAMP, "received_date": pl.Date()})


def messages(*bodies: str) -> pl.DataFrame:
    """Messages ``m0``, ``m1``, … with these bodies, all received at ``RECEIVED_AT``."""
    return pl.DataFrame([(f"m{index}", body, RECEIVED_AT, RECEIVED_AT.date()) for index, body in enumerate(bodies)], _SCHEMA, orient="row")


def flat(*bodies: str) -> Flattened:
    """The bodies, flattened as messages of the event feed."""
    return flatten(messages(*bodies), source="event_feed")


def bundle(*items: str) -> str:
    """A bundle of items."""
    return "<ActivityItems>" + "".join(items) + "</ActivityItems>"


def item(element: str, **children: str) -> str:
    """An item with a usable timestamp and activity id, and these children."""
    given = {"ActivityId": "a1", "Timestamp": "2026-02-28T10:00:00Z", **children}
    return f"<{element}>" + "".join(f"<{name}>{text}</{name}>" for name, text in given.items()) + f"</{element}>"


def only_row(flattened: Flattened, table: str) -> dict[str, Any]:
    """The single row of the only table that has one."""
    assert list(flattened.tables) == [table]
    assert flattened.rejected.is_empty()
    return flattened.tables[table].row(0, named=True)
