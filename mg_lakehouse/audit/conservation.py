"""What can be proved of the lake by looking at it: conservation, uniqueness, schema, and what stands where.

Only reads. Each function takes the lake as it finds it and gives numbers; whether a number is a failure, and what
it blocks, is :mod:`mg_lakehouse.dagster.checks`' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake, Layer, columns_of_table, store_errors
from mg_lakehouse.lake.ledger import Posted, SliceLedger, posted_slices
from mg_lakehouse.silver.candidates import rows_near
from mg_lakehouse.silver.update import EVENT_TABLES

__all__ = ["Conservation", "TableStanding", "conservation", "repeated_ids", "repeated_new_ids", "schema_differences", "standing"]


RECHECKED_VERSIONS: Final = 100
"""Bronze versions that conservation is added up for when it is executed alone, without a batch. The logs are kept for as many."""


@dataclass(frozen=True, slots=True)
class Conservation:
    """The sum of what bronze gave and of what became of it, over a range of bronze versions.

    ``rows`` counts event rows, ``rejected`` rows of ``rejected_items`` (conflicting copies among them), ``set_aside`` items of messages that
    could not be flattened for a reason that nobody foresaw. ``miscounted`` names the
    tables whose ledger differs from what Delta counted when it wrote, ``unbalanced_sources`` counts those of a sum that do not add up by themselves.
    ``uncovered`` counts items that begin in bodies, by a count that knows no reader, and are in no row and no reject.
    """

    messages: int
    items: int
    rows: int
    duplicates: int
    rejected: int
    miscounted: tuple[str, ...]
    unbalanced_sources: int = 0
    set_aside: int = 0
    uncovered: int = 0

    @property
    def difference(self) -> int:
        """Items that are nowhere (positive) or twice (negative)."""
        return self.items - self.rows - self.duplicates - self.rejected - self.set_aside

    @property
    def holds(self) -> bool:
        """Whether every item is somewhere, once."""
        return self.difference == 0 and not self.miscounted and not self.unbalanced_sources and not self.uncovered

    def plus(self, other: Conservation) -> Conservation:
        """The sum of two sources, which holds where each does: what one lacks is not made up by what another has twice."""
        return Conservation(
            self.messages + other.messages,
            self.items + other.items,
            self.rows + other.rows,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            tuple(dict.fromkeys((*self.miscounted, *other.miscounted))),
            sum(each.unbalanced_sources or each.difference != 0 for each in (self, other)),
            self.set_aside + other.set_aside,
            self.uncovered + other.uncovered,
        )


class TableStanding(NamedTuple):
    """How a table stands. Times are UTC; ``newest_received_at`` is null where the table has no such column or no row."""

    rows: int
    version: int
    updated_at: datetime
    newest_received_at: datetime | None


def conservation(lake: Lake, *, source: str = "event_feed", above: int) -> Conservation:
    """Add up the ledgers of the bronze versions above ``above``.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    slices = _posted(lake, REJECTED_ITEMS, source, above)
    # A slice that another run is in the middle of is not summed up before `rejected_items`, which comes last, has it.
    finished = max((posted.ledger.high for posted in slices), default=above)
    messages = sum(posted.ledger.messages for posted in slices)
    items = sum(posted.ledger.items for posted in slices)
    rejected = sum(posted.ledger.rows for posted in slices)
    rows = duplicates = 0
    miscounted = [REJECTED_ITEMS] if any(posted.ledger.rows != posted.rows_added for posted in slices) else []
    for table in EVENT_TABLES:
        for posted in _posted(lake, table, source, above):
            if posted.ledger.high > finished:
                continue
            if posted.ledger.rows != posted.rows_added and table not in miscounted:
                miscounted.append(table)
            rows, duplicates = rows + posted.ledger.rows, duplicates + posted.ledger.duplicates
    set_aside, uncovered = sum(posted.ledger.set_aside for posted in slices), sum(posted.ledger.uncovered for posted in slices)
    return Conservation(messages, items, rows, duplicates, rejected, tuple(miscounted), set_aside=set_aside, uncovered=uncovered)


def _posted(lake: Lake, table: str, source: str, above: int) -> list[Posted[SliceLedger]]:
    handle = lake.open("silver", table)
    if handle is None:
        return []
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        return list(posted_slices(handle, source, above))


def repeated_new_ids(lake: Lake, table: str, *, above: int) -> int:
    """Activity ids that occur more than once, among those that the table's versions above ``above`` added.

    Reads back what was committed. The cost follows the new rows: only rows near their times are looked at.
    """
    handle = lake.open("silver", table)
    if handle is None or handle.version() <= above:
        return 0
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        stream = handle.load_cdf(above + 1, handle.version(), columns=["activity_id", "event_at", "source"], allow_out_of_range=True)
        new = pl.DataFrame(stream.read_all())
        near = None if new.is_empty() else rows_near(lake, handle, new["event_at"], new["source"].unique().to_list())
        if near is None:
            return 0
        return _repeated(near.select("activity_id").join(new.lazy().select("activity_id").unique(), on="activity_id", how="semi"))


def repeated_ids(lake: Lake, table: str) -> int:
    """Activity ids that occur more than once in the whole table."""
    handle = lake.open("silver", table)
    if handle is None or not (files := all_files(handle)):
        return 0
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        return _repeated(lake.scan(files, handle).select("activity_id"))


def _repeated(ids: pl.LazyFrame) -> int:
    repeated = ids.group_by("activity_id").len().filter(pl.col("len") > 1).select(pl.len())
    return int(repeated.collect(engine="streaming").item())


def schema_differences(lake: Lake, table: str) -> list[str]:
    """Columns of a silver table that differ from the catalogue, each as a phrase; empty where it does not exist."""
    handle = lake.open("silver", table)
    if handle is None:
        return []
    expected = silver_schema(table)
    found = columns_of_table(handle)
    missing = [f"{name} is missing" for name in expected if name not in found]
    unknown = [f"{name} is not in the catalogue" for name in found if name not in expected]
    retyped = [f"{name} is {found[name]}, not {dtype}" for name, dtype in expected.items() if name in found and found[name] != dtype]
    return [*missing, *unknown, *retyped]


def standing(lake: Lake, layer: Layer, table: str) -> TableStanding | None:
    """How a table stands, from its log alone; ``None`` where it does not exist."""
    handle = lake.open(layer, table)
    if handle is None:
        return None
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    rows = 0 if actions.is_empty() else int(actions["num_records"].sum())
    newest = actions["max.received_at"].max() if "max.received_at" in actions.columns else None
    with store_errors(f"{layer}/{table} in the lake {lake.uri}"):
        updated_at = _updated_at(handle)
    return TableStanding(rows, handle.version(), updated_at, newest if isinstance(newest, datetime) else None)


def _updated_at(handle: DeltaTable) -> datetime:
    return datetime.fromtimestamp(handle.history(1)[0]["timestamp"] / 1000, UTC)


def rejected_by_reason(lake: Lake) -> dict[str, int]:
    """Rows of ``rejected_items`` by reason, most first."""
    handle = lake.open("silver", REJECTED_ITEMS)
    if handle is None or not (files := all_files(handle)):
        return {}
    with store_errors(f"silver/{REJECTED_ITEMS} in the lake {lake.uri}"):
        counted = lake.scan(files, handle).group_by("reason").len().sort("len", "reason", descending=[True, False]).collect()
    return dict(counted.iter_rows())
