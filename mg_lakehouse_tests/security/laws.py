"""What holds of every body, however hostile. The fuzzers and the property tests ask for nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import polars as pl

from mg_lakehouse.events.flatten import Flattened, flatten

_NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def flatten_one(body: str) -> Flattened:
    """What becomes of a message with this body."""
    # As bronze takes it: a lone surrogate, which JSON can spell, is no text.
    text = body.encode("utf-8", "replace").decode()
    messages = pl.DataFrame(
        {"message_id": ["m"], "body": [text], "received_at": [_NOW], "received_date": [_NOW.date()]},
        schema_overrides={"received_at": pl.Datetime("us", "UTC")},
    )
    return flatten(messages, source="event_feed")


def check(body: str) -> Flattened:
    """Nothing raises, nothing is lost, and nothing grows: what is kept of a body is at most what was in it, written out a few times."""
    found = flatten_one(body)
    rows = sum(frame.height for frame in found.tables.values())
    assert found.items == rows + found.rejected.height, f"{found.items} items, {rows} rows, {found.rejected.height} rejected"
    if body.strip(" \t\r\n\ufeff") and not found.items:
        # Only a bundle without items gives nothing; then no item can have been overlooked.
        assert "Activity>" not in body or "<!--" in body or "<![CDATA[" in body or "<?" in body, "an item gave nothing"
    for frame in (*found.tables.values(), found.rejected):
        text = sum(int(frame[name].str.len_bytes().sum() or 0) for name, dtype in frame.schema.items() if dtype == pl.String)
        allowed = 16 * len(body.encode("utf-8", "replace")) + 1_000 * frame.height
        assert text <= allowed, f"{text} bytes of text came of {len(body)} characters"
    return found
