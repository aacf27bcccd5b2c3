"""What gold must be, of silver rows, under the settings that the whole runs have."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mg_lakehouse_tests.reckoning.gold import expected_gold

__all__ = ["KEY", "LINEAGE", "SEEDS", "ZONE", "gold_of"]

LINEAGE: Final = ["source", "message_id", "item_index", "received_at", "received_date"]
KEY: Final = "a-key-of-the-tests"
ZONE: Final = "America/New_York"
SEEDS: Final = Path(__file__).parents[2] / "dbt_project" / "seeds"


def gold_of(silver: dict[str, list[dict[str, Any]]], as_of: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows of each model, of rows of silver without their lineage."""
    return expected_gold(
        silver, as_of=as_of, zone=ZONE, pii_key=KEY, categories=SEEDS / "bounce_categories.csv", providers=SEEDS / "mailbox_providers.csv"
    )
