"""What holds of every body, however hostile. The fuzzers and the property tests ask for nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from unittest.mock import patch

import polars as pl
from polars.testing import assert_frame_equal, assert_series_equal

from mg_lakehouse.events import flatten as flattening
from mg_lakehouse.events.fast.reader import NOTHING_READ_FAST, read_fast
from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.events.formats.envelopes import unwrap_all

_NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def flatten_strictly(messages: pl.DataFrame) -> Flattened:
    """What the strict reader alone makes of messages."""
    with patch.object(flattening, "read_fast", return_value=NOTHING_READ_FAST):
        return flatten(messages, source="event_feed")


def assert_fast_equals_strict(messages: pl.DataFrame) -> Flattened:
    """Both readings give the same rows in the same order, and the same rejects. Returns them."""
    plain = read_fast(unwrap_all(messages["body"]).texts)  # here a fault is a fault: `flatten` takes the strict reading then
    fast = flatten(messages, source="event_feed")
    if plain.bodies.is_empty():
        return fast  # all was read strictly
    assert_same_frames(fast, flatten_strictly(messages))
    return fast


def assert_same_frames(one: Flattened, other: Flattened) -> None:
    """The same rows in the same order, the same rejects, and the same numbers of items."""
    assert_series_equal(one.items_of, other.items_of)
    assert_series_equal(one.counted_of, other.counted_of)
    assert_frame_equal(one.rejected, other.rejected)
    assert list(one.tables) == list(other.tables)
    for table, rows in other.tables.items():
        assert_frame_equal(one.tables[table], rows)


def message_of(body: str) -> pl.DataFrame:
    """A message with this body."""
    # As bronze takes it: a lone surrogate, which JSON can spell, is no text.
    text = body.encode("utf-8", "replace").decode()
    return pl.DataFrame(
        {"message_id": ["m"], "body": [text], "received_at": [_NOW], "received_date": [_NOW.date()]},
        schema_overrides={"received_at": pl.Datetime("us", "UTC")},
    )


def check(body: str) -> Flattened:
    """Nothing raises, nothing is lost, and nothing grows: what is kept of a body is at most what was in it, written out a few times.

    And however it is read, the same comes of it.
    """
    found = assert_fast_equals_strict(message_of(body))
    rows = sum(frame.height for frame in found.tables.values())
    assert found.items == rows + found.rejected.height, f"{found.items} items, {rows} rows, {found.rejected.height} rejected"
    assert found.counted == found.items, f"{found.counted} items begin, {found.items} were seen"
    assert "overlooked_items" not in found.rejected["reason"], "the readers overlooked an item"
    if body.strip(" \t\r\n\ufeff") and not found.items:
        # Only a bundle without items gives nothing; then no item can have been overlooked.
        assert re.search("<[^<>]*Activity>", body) is None or "<!--" in body or "<![CDATA[" in body or "<?" in body, "an item gave nothing"
    for frame in (*found.tables.values(), found.rejected):
        text = sum(int(frame[name].str.len_bytes().sum() or 0) for name, dtype in frame.schema.items() if dtype == pl.String)
        allowed = 16 * len(body.encode("utf-8", "replace")) + 1_000 * frame.height
        assert text <= allowed, f"{text} bytes of text came of {len(body)} characters"
    return found
