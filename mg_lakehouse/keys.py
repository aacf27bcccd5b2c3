"""Asset keys, in one place. A silver table's key is the dbt source's too, which joins the two graphs."""

from __future__ import annotations

from typing import Final

import dagster as dg

__all__ = [
    "ACCOUNT_ACTIVITY_KEY",
    "EVENT_FEED_KEY",
    "FILES_KEY",
    "LOADED_FILES_KEY",
    "QUEUE_KEY",
    "QUEUE_LOST_NOTHING",
    "gold_key",
    "silver_key",
]

QUEUE_KEY: Final = dg.AssetKey(["messagegears", "event_feed_queue"])
EVENT_FEED_KEY: Final = dg.AssetKey(["bronze", "event_feed"])
FILES_KEY: Final = dg.AssetKey(["messagegears", "account_activity_files"])
ACCOUNT_ACTIVITY_KEY: Final = dg.AssetKey(["bronze", "account_activity"])
LOADED_FILES_KEY: Final = dg.AssetKey(["bronze", "loaded_files"])

QUEUE_LOST_NOTHING: Final = dg.AssetCheckKey(ACCOUNT_ACTIVITY_KEY, "queue_lost_nothing")


def silver_key(table: str) -> dg.AssetKey:
    """Asset key of a silver table."""
    return dg.AssetKey(["silver", table])


def gold_key(model: str) -> dg.AssetKey:
    """Asset key of a gold model."""
    return dg.AssetKey(["gold", model])
