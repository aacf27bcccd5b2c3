"""What of a table's past may be deleted: replaced files, orphans of killed writers, old entries of the log.

Each layer reads the one below by version, from the change feed, and the feed of a version needs its log entry and the files that
it added, whether or not they were compacted since. So nothing goes that a reader has not read: a table's past is kept for some
days by the clock, and longer where a reader lags (:class:`Hold`). It is a guard without which rows would be lost silently:
asked for versions whose entries are gone, a change feed may give no rows and no error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from typing import Any, Final, NamedTuple

from deltalake import DeltaTable

from mg_lakehouse.bronze.read_progress import silver_progress
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import Included
from mg_lakehouse.lake.commit import NO_HOOKS
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import commits_of, committed_at

__all__ = ["Hold", "Removed", "check_hold", "clean_log", "gold_hold", "remove_files", "silver_hold", "with_retention"]

_MARGIN: Final = timedelta(hours=1)
"""A file is written some time before its commit, and clocks differ."""

_WITHOUT_ROWS: Final = ("CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN")
"""Commits that the change feed shows nothing of."""

_PROPERTIES: Final = {"delta.deletedFileRetentionDuration": 7, "delta.logRetentionDuration": 30}
"""What Delta does in days where a table says nothing."""


class Hold(NamedTuple):
    """A reader that lags, by name, and the times of the oldest commit and of the oldest one with rows that it has not read."""

    reader: str
    commit_at: datetime
    rows_at: datetime | None


class Removed(NamedTuple):
    """Files that were removed, or would be, and their bytes where they are known."""

    files: int = 0
    bytes: int = 0


def silver_hold(lake: Lake, bronze: DeltaTable) -> Hold | None:
    """Silver's hold on bronze: what it has not flattened. Nothing else can replace it, so it has no end."""
    return _hold("silver", bronze, silver_progress(lake, bronze))


def gold_hold(lake: Lake, silver: DeltaTable, models: Iterable[str], *, no_longer_than: timedelta) -> Hold | None:
    """The longest hold of gold's models on a silver table.

    A model that was not built for longer than ``no_longer_than`` holds nothing: it finds its changes gone and is built anew, which
    is as exact and costs a full build. So a model that fails, or that nobody builds, does not keep the past for ever.
    """
    table, table_id = silver.metadata().name or "", str(silver.metadata().id)
    holds = []
    for model in models:
        handle = lake.open("gold", model)
        included = None if handle is None else gold.included_in(handle, {table: table_id}, [table]).silver.get(table)
        if included is not None and _is_read_on_from(included, table_id):
            holds.append(_hold(f"gold/{model}", silver, included.version))
    ended = datetime.now(UTC) - no_longer_than
    lasting = [hold for hold in holds if hold is not None and (hold.rows_at is None or hold.rows_at >= ended)]
    return min(lasting, key=lambda hold: hold.commit_at, default=None)


def check_hold(lake: Lake, source: str, versions: int) -> Hold | None:
    """The hold of the checks that add up what silver says of the newest ``versions`` of a bronze table: all its tables' logs must go back so far.

    The logs are cut at different places. Where one has the items of a slice and another no longer its rows, items would be missing.
    """
    bronze = lake.open("bronze", source)
    if bronze is None:
        return None
    oldest = deque(islice(commits_of(bronze), versions + 1), maxlen=1)[0]
    return Hold("the check conservation", committed_at(oldest), None)


def _is_read_on_from(included: Included, table_id: str) -> bool:
    return included.incarnation in {gold.ABSENT.incarnation, gold.digest(table_id)}


def _hold(reader: str, handle: DeltaTable, read: int) -> Hold | None:
    """``read`` is the version up to which everything is read, -1 for nothing."""
    unread = handle.version() - read
    if unread <= 0:
        return None
    commits = list(islice(commits_of(handle), unread))
    rows = [commit for commit in commits if commit.get("operation") not in _WITHOUT_ROWS]
    return Hold(reader, committed_at(commits[-1]), committed_at(rows[-1]) if rows else None)


def remove_files(handle: DeltaTable, holds: Sequence[Hold], *, keep: timedelta, dry_run: bool) -> Removed:
    """Remove the files that were replaced at least ``keep`` ago, and those as old that no commit knows of.

    A writer that still runs has no file as old as that: its tries last minutes. Where a reader lags, everything that could be
    of a commit that it has not read stays too.
    """
    now = datetime.now(UTC)
    ages = [keep, *(now - hold.rows_at + _MARGIN for hold in holds if hold.rows_at is not None)]
    options: dict[str, Any] = {
        "retention_hours": ceil(max(ages) / timedelta(hours=1)),
        # The age is ours to choose, and never less than the hold of a reader.
        "enforce_retention_duration": False,
        "full": True,
        "post_commithook_properties": NO_HOOKS,
    }
    files = handle.vacuum(dry_run=True, **options)
    if dry_run or not files:  # a vacuum of nothing is no commit
        return Removed(len(files))
    removed = handle.vacuum(dry_run=False, **options)
    started = next((commit for commit in handle.history(8) if commit.get("operation") == "VACUUM START"), {})
    return Removed(len(removed), int(started.get("operationMetrics", {}).get("sizeOfDataToDelete", 0)))


def clean_log(handle: DeltaTable, holds: Sequence[Hold], *, keep: timedelta) -> Hold | None:
    """Remove the log's entries that are older than ``keep`` and lie before a checkpoint, as the table's properties have it.

    Returns:
        The reader that has not read entries as old as that; then nothing is removed. ``None`` where there is none.
    """
    oldest = datetime.now(UTC) - keep + _MARGIN
    for hold in holds:
        if hold.commit_at <= oldest:
            return hold
    handle.cleanup_metadata()
    return None


def with_retention(handle: DeltaTable, *, keep_files_days: int, keep_log_days: int) -> bool:
    """Have the table's properties say how long its past is kept, where they say otherwise. Returns whether that took a commit.

    delta-rs goes by them: what a checkpoint still knows of replaced files, and which entries of the log are old. A commit of
    metadata makes an append under way look again, so it is made only where the numbers change.
    """
    wanted = dict(zip(_PROPERTIES, (keep_files_days, keep_log_days), strict=True))
    configured = handle.metadata().configuration
    told = {name: f"interval {days} days" for name, days in wanted.items() if days != _days(configured.get(name), _PROPERTIES[name])}
    if told:
        handle.alter.set_table_properties(told, post_commithook_properties=NO_HOOKS)
    return bool(told)


def _days(interval: str | None, default: int) -> int:
    return default if interval is None else int(interval.split()[1])
