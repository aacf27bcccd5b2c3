"""Retention: decides what of a table's history may be deleted: replaced files, orphans of killed writers, old log entries.

Each layer reads the one below by version, from the change feed. The feed of a version needs its log entry and the files that it added, even if
they were compacted since. So a table's history is kept for a number of days, and longer while a reader lags: the reader has a retention lock
(:class:`RetentionLock`). Without it, rows would be lost silently: for versions whose entries are gone, a change feed may return no rows and no error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from typing import Any, Final, NamedTuple

from deltalake import DeltaTable

from mg_lakehouse.bronze.read_progress import silver_progress
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import Watermark
from mg_lakehouse.lake.commit import NO_HOOKS
from mg_lakehouse.lake.commit_log import commits_of, committed_at
from mg_lakehouse.lake.lake import Lake

__all__ = [
    "Removed",
    "RetentionLock",
    "check_hold",
    "clean_log",
    "gold_retention_lock",
    "remove_files",
    "silver_retention_lock",
    "with_retention",
]

_MARGIN: Final = timedelta(hours=1)
"""A file is written some time before its commit, and clocks differ."""

_WITHOUT_ROWS: Final = ("CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN")
"""Operations whose commits add nothing to the change feed."""

_PROPERTIES: Final = {"delta.deletedFileRetentionDuration": 7, "delta.logRetentionDuration": 30}
"""Delta's defaults in days, for tables without these properties."""


class RetentionLock(NamedTuple):
    """A retention lock: a lagging reader's name, and the times of its oldest unread commit and its oldest unread commit with rows."""

    reader: str
    commit_at: datetime
    rows_at: datetime | None


class Removed(NamedTuple):
    """Files that were removed, or would be, and their bytes if known."""

    files: int = 0
    bytes: int = 0


def silver_retention_lock(lake: Lake, bronze: DeltaTable) -> RetentionLock | None:
    """Return silver's retention lock on bronze: what it has not flattened. It never expires, because nothing can replace bronze."""
    return _hold("silver", bronze, silver_progress(lake, bronze))


def gold_progress(lake: Lake, tables: Sequence[str], models: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the version of each silver table that gold's models have included, by silver table and model; none where a model does not read on."""
    ids = {table: str(handle.metadata().id) for table, handle in lake.open_written("silver", tables).items()}
    progress: dict[str, dict[str, int]] = {table: {} for table in ids}
    for model, handle in lake.open_written("gold", models).items():
        for table, watermark in gold.watermarks_of(handle, ids, ids).silver.items():
            if table in ids and _is_read_on_from(watermark, ids[table]):
                progress[table][model] = watermark.version
    return progress


def gold_retention_lock(silver: DeltaTable, included: Mapping[str, int], *, no_longer_than: timedelta) -> RetentionLock | None:
    """Return the oldest retention lock of gold's models on a silver table, of which each has included a version.

    A model that was not built for ``no_longer_than`` has no lock: its changes are gone and it is rebuilt, which is as exact and costs a full
    build. So a model that fails, or that nobody builds, does not keep the history for ever.
    """
    holds = [_hold(f"gold/{model}", silver, version) for model, version in included.items()]
    ended = datetime.now(UTC) - no_longer_than
    lasting = [hold for hold in holds if hold is not None and (hold.rows_at is None or hold.rows_at >= ended)]
    return min(lasting, key=lambda hold: hold.commit_at, default=None)


def check_hold(lake: Lake, source: str, versions: int) -> RetentionLock | None:
    """Return the retention lock of the checks that sum silver's ledgers of a bronze table's newest ``versions``.

    All silver logs must go back that far. They are cut at different places: if one still has the items of a slice and another no longer its
    rows, items would seem missing.
    """
    bronze = lake.open("bronze", source)
    if bronze is None:
        return None
    oldest = deque(islice(commits_of(bronze), versions + 1), maxlen=1)[0]
    return RetentionLock("the check conservation", committed_at(oldest), None)


def _is_read_on_from(included: Watermark, table_id: str) -> bool:
    return included.incarnation in {gold.ABSENT.incarnation, gold.digest(table_id)}


def _hold(reader: str, handle: DeltaTable, read: int) -> RetentionLock | None:
    """Return a reader's lock. ``read`` is the version up to which it has read everything, -1 for nothing."""
    unread = handle.version() - read
    if unread <= 0:
        return None
    commits = list(islice(commits_of(handle), unread))
    rows = [commit for commit in commits if commit.get("operation") not in _WITHOUT_ROWS]
    return RetentionLock(reader, committed_at(commits[-1]), committed_at(rows[-1]) if rows else None)


def remove_files(handle: DeltaTable, holds: Sequence[RetentionLock], *, keep: timedelta, dry_run: bool) -> Removed:
    """Remove files that were replaced at least ``keep`` ago, and files of that age that no commit names.

    A running writer has no file that old: its attempts last minutes. While a reader lags, all files that may belong to a commit it has not
    read stay too.
    """
    now = datetime.now(UTC)
    ages = [keep, *(now - hold.rows_at + _MARGIN for hold in holds if hold.rows_at is not None)]
    options: dict[str, Any] = {
        "retention_hours": ceil(max(ages) / timedelta(hours=1)),
        # We choose the age; it never undercuts a reader's lock.
        "enforce_retention_duration": False,
        "full": True,
        "post_commithook_properties": NO_HOOKS,
    }
    files = handle.vacuum(dry_run=True, **options)
    if dry_run or not files:  # without files to remove, make no commit
        return Removed(len(files))
    removed = handle.vacuum(dry_run=False, **options)
    started = next((commit for commit in islice(commits_of(handle), 8) if commit.get("operation") == "VACUUM START"), {})
    return Removed(len(removed), int(started.get("operationMetrics", {}).get("sizeOfDataToDelete", 0)))


def clean_log(handle: DeltaTable, holds: Sequence[RetentionLock], *, keep: timedelta) -> RetentionLock | None:
    """Remove log entries that are older than ``keep`` and lie before a checkpoint, by the table's properties.

    Returns:
        The lock of a reader that has not read entries of that age; then nothing is removed. ``None`` if there is none.
    """
    oldest = datetime.now(UTC) - keep + _MARGIN
    for hold in holds:
        if hold.commit_at <= oldest:
            return hold
    handle.cleanup_metadata()
    return None


def with_retention(handle: DeltaTable, *, keep_files_days: int, keep_log_days: int) -> bool:
    """Set the table's retention properties if they differ. Return whether that took a commit.

    delta-rs obeys them: they decide which replaced files a checkpoint still names, and which log entries are old. A metadata commit makes a
    running append retry, so it is made only if the numbers change.
    """
    days_by_property = dict(zip(_PROPERTIES, (keep_files_days, keep_log_days), strict=True))
    configured = handle.metadata().configuration
    changed = {
        name: f"interval {days} days" for name, days in days_by_property.items() if days != _days(configured.get(name), _PROPERTIES[name])
    }
    if changed:
        handle.alter.set_table_properties(changed, post_commithook_properties=NO_HOOKS)
    return bool(changed)


def _days(interval: str | None, default: int) -> int:
    return default if interval is None else int(interval.split()[1])
