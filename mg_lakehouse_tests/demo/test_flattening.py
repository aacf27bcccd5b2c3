"""The generator's truth and the package's reading of the feed, item by item: two accounts of one thing, written apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mg_lakehouse.events.flatten import Flattened, flatten
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.feed.truth import TrueRow
from mg_lakehouse_tests.oracle.compare import difference

_PLACE = ("message_id", "item_index")
_RECEIVED = datetime(2026, 3, 21, tzinfo=UTC)


@pytest.fixture(scope="module", params=[1, 2, 3])
def read(request: pytest.FixtureRequest) -> tuple[Feed, Flattened]:
    feed = generate(FeedPlan(seed=request.param, events=8_000, odd=0.4, malformed=0.02))
    messages = pl.DataFrame(
        {
            "message_id": [str(index) for index in range(len(feed.bundles))],
            "body": [bundle.body for bundle in feed.bundles],
            "received_at": _RECEIVED,
            "received_date": _RECEIVED.date(),
        },
        schema_overrides={"received_at": pl.Datetime("us", "UTC")},
    )
    return feed, flatten(messages, source="event_feed")


def _expected(row: TrueRow) -> dict[str, Any]:
    return {**row.values, "message_id": str(row.bundle), "item_index": row.item}


def test_every_item_becomes_the_row_that_the_truth_says(read: tuple[Feed, Flattened]) -> None:
    feed, flattened = read
    for table, rows in feed.truth.by_table().items():
        expected = [_expected(row) for row in rows]
        written_first = {(row["message_id"], row["item_index"]) for row in expected}
        actual = [row for row in flattened.tables[table].to_dicts() if (row["message_id"], row["item_index"]) in written_first]
        by_place = {(row["message_id"], row["item_index"]): row for row in actual}
        for row in expected:
            if row["activity_id"] is None:
                found = by_place[row["message_id"], row["item_index"]]["activity_id"]
                assert found.startswith("sha256:")
                row["activity_id"] = found
        lineage = ("source", "received_at", "received_date")
        stripped = [{name: value for name, value in row.items() if name not in lineage} for row in actual]
        assert difference(expected, stripped, key=_PLACE) == "", table


def test_what_is_no_row_is_a_duplicate_or_rejected_for_the_reason_that_the_truth_gives(read: tuple[Feed, Flattened]) -> None:
    feed, flattened = read
    rows = sum(frame.height for frame in flattened.tables.values())
    assert rows == len(feed.truth.rows) + feed.truth.duplicates
    expected = [
        {"message_id": str(rejected.bundle), "item_index": rejected.item, "reason": rejected.reason, "element": rejected.element}
        for rejected in feed.truth.rejected
    ]
    actual = flattened.rejected.select("message_id", "item_index", "reason", "element").to_dicts()
    assert difference(expected, actual, key=_PLACE) == ""
