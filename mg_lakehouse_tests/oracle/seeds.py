"""The two seed tables, read from their CSV files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

UNKNOWN_CLASS = "unknown"
NO_KEY = "(none)"
ATTEMPTED = ("hard", "soft", "block", "undetermined", "deferred")


@dataclass(frozen=True)
class Seeds:
    """``categories`` by (channel, category key), ``providers`` by domain; ``reporting`` are the providers that report complaints."""

    categories: dict[tuple[str, str], Row]
    providers: dict[str, str]
    reporting: frozenset[str]

    def key_of(self, channel: str, category: str | None, code: int | None) -> str:
        """Category key of a failure (G3)."""
        if channel != "email":
            return (category.strip().upper() if category else "") or (NO_KEY if code is None else str(code))
        if code is not None:
            return str(code)
        if not category:
            return NO_KEY
        named = [key for (of, key), row in self.categories.items() if of == "email" and row["category"] == category]
        return named[0] if named else category

    def class_of(self, channel: str, key: str) -> str:
        """Class of a category key: ``unknown`` where the seed lacks it."""
        row = self.categories.get((channel, key))
        return str(row["class"]) if row else UNKNOWN_CLASS

    def counts_as(self, channel: str, key: str) -> str:
        """How a category key counts (G4): as ``undetermined`` where the seed lacks it."""
        row = self.categories.get((channel, key))
        return str(row["counts_as"]) if row else "undetermined"


def read_seeds(categories: Path, providers: Path) -> Seeds:
    """Read the bounce categories and the mailbox providers."""
    rows = [_typed(row) for row in _read(categories)]
    domains = _read(providers)
    return Seeds(
        categories={(row["channel"], row["category_key"]): row for row in rows},
        providers={row["domain"].lower(): row["provider"] for row in domains},
        reporting=frozenset(row["provider"] for row in domains if row["reports_complaints"] == "true"),
    )


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _typed(row: dict[str, str]) -> Row:
    booleans: dict[str, bool | None] = {"true": True, "false": False, "": None}
    return row | {
        "category_code": int(row["category_code"]) if row["category_code"] else None,
        "is_attempted": booleans[row["is_attempted"].lower()],
        "is_permanent": booleans[row["is_permanent"].lower()],
        "must_remove": booleans[row["must_remove"].lower()],
        "in_bounce_rate": row["in_bounce_rate"].lower(),
    }
