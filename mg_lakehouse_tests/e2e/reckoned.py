"""What gold must be, of silver rows, under the settings that the whole runs have."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.oracle.compare import difference
from mg_lakehouse_tests.oracle.gold import NOT_RECKONED, OF_RECEIPT, PRIMARY_KEYS, expected_gold

__all__ = ["KEY", "LINEAGE", "SEEDS", "ZONE", "gold_of", "unlike"]

LINEAGE: Final = ["source", "message_id", "item_index", "received_at", "received_date"]
KEY: Final = "a-key-of-the-tests"
ZONE: Final = "America/New_York"
SEEDS: Final = Path(__file__).parents[2] / "dbt_project" / "seeds"


def gold_of(silver: dict[str, list[dict[str, Any]]], as_of: datetime) -> dict[str, list[dict[str, Any]]]:
    """Rows of each model, of rows of silver without their lineage."""
    return expected_gold(
        silver, as_of=as_of, zone=ZONE, pii_key=KEY, categories=SEEDS / "bounce_categories.csv", providers=SEEDS / "mailbox_providers.csv"
    )


def unlike(lake: Lake, model: str, expected: list[dict[str, Any]]) -> str:
    """How a model of a lake differs from its reckoning, but for what hangs on when its events were received."""
    unknown = (*NOT_RECKONED, *OF_RECEIPT)
    found = rows_of(lake, "gold", model).drop(unknown, strict=False).to_dicts()
    reckoned = [{name: value for name, value in row.items() if name not in unknown} for row in expected]
    return difference(reckoned, found, key=PRIMARY_KEYS[model])
