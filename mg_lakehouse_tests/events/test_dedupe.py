"""Which copy of an activity stays, by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from mg_lakehouse.events.dedupe import against_existing, first_received

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(*given: tuple[str, int, str, int, str]) -> pl.DataFrame:
    """Rows of id, seconds after noon of their receipt, message, place in it, and content."""
    made = [(name, NOON + timedelta(seconds=seconds), message, place, url, "event_feed") for name, seconds, message, place, url in given]
    return pl.DataFrame(made, ["activity_id", "received_at", "message_id", "item_index", "url", "source"], orient="row")


def places(frame: pl.DataFrame) -> list[tuple[str, int]]:
    return frame.select("message_id", "item_index").rows()


def test_the_first_received_stays_in_whatever_order_rows_come() -> None:
    batch = rows(("a", 9, "m3", 0, "x"), ("a", 1, "m2", 1, "x"), ("a", 1, "m2", 0, "x"), ("a", 1, "m1", 7, "y"), ("b", 0, "m9", 0, "x"))
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        found = first_received(batch[order])
        assert sorted(places(found.kept)) == [("m1", 7), ("m9", 0)]
        # The first one says `y`: all others differ from it.
        assert (found.duplicates, sorted(places(found.conflicts))) == (0, [("m2", 0), ("m2", 1), ("m3", 0)])


def test_a_row_that_stands_in_the_table_already_is_no_copy_of_itself() -> None:
    batch = rows(("a", 0, "m1", 0, "x"), ("a", 5, "m2", 0, "x"), ("a", 6, "m3", 0, "z"), ("b", 7, "m3", 1, "x"))
    existing = batch.head(1).drop("received_at")
    found = against_existing(batch, existing)
    assert places(found.kept) == [("m3", 1)]
    assert (found.landed, found.duplicates, places(found.conflicts)) == (1, 1, [("m3", 0)])
