"""Asset keys, in one place. A silver table's key is the dbt source's too, which joins the two graphs."""

from __future__ import annotations

from typing import Final

import dagster as dg

__all__ = ["EVENT_FEED_KEY", "QUEUE_KEY", "gold_key", "silver_key"]

QUEUE_KEY: Final = dg.AssetKey(["messagegears", "event_feed_queue"])
EVENT_FEED_KEY: Final = dg.AssetKey(["bronze", "event_feed"])


def silver_key(table: str) -> dg.AssetKey:
    """Asset key of a silver table."""
    return dg.AssetKey(["silver", table])


def gold_key(model: str) -> dg.AssetKey:
    """Asset key of a gold model."""
    return dg.AssetKey(["gold", model])
