"""Tracks how far silver has read a bronze table, and whether the table still reaches that far.

Delta keeps the progress: a commit of silver carries ``Transaction("silver:<bronze table id>", <bronze version>)``. Every writer
of bronze checks it first: silver would never read rows committed to versions that it has passed. So this module is below silver.
"""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.damage import remedy
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_slices

__all__ = [
    "progress_app",
    "progress_app_of",
    "recorded_progress",
    "recorded_progress_of",
    "refuse_lost_bronze",
    "require_whole",
    "silver_progress",
]


def silver_progress(lake: Lake, bronze: DeltaTable) -> int:
    """Return the bronze version up to which every silver table has everything.

    Raises:
        PermanentError: bronze ends before it: it lost commits, and silver would take new ones for those that it has read.
    """
    progress = recorded_progress(lake, bronze)
    if progress <= bronze.version():
        return progress
    source = bronze.metadata().name or ""
    newest = lake.open("bronze", source)  # another run may have committed and flattened since
    if newest is None or newest.version() < progress:
        has = "no commit" if newest is None else f"commit {newest.version():,}"
        raise PermanentError(
            f"bronze/{source} in the lake {lake.uri} is damaged: it ends with {has}, and silver has read commit {progress:,} of it. "
            f"To repair it, {remedy('bronze', source, Path(lake.uri_of('bronze', source)))}."
        )
    return progress


def require_whole(lake: Lake, source: str) -> None:
    """Check, before anything is received, that a bronze table can take it: silver would never read rows committed to versions it has passed.

    Raises:
        PermanentError: the bronze table is damaged.
        TransientError: the store did not answer.
    """
    bronze = lake.open("bronze", source)
    if bronze is None:
        refuse_lost_bronze(lake, source)
    else:
        silver_progress(lake, bronze)


def refuse_lost_bronze(lake: Lake, source: str) -> None:
    """Refuse to go on without a bronze table that silver has read: a new table in its place would hide the loss.

    Raises:
        PermanentError: silver has read the missing table.
        TransientError: the store did not answer.
    """
    rejected = lake.open("silver", REJECTED_ITEMS)
    if rejected is not None and next(posted_slices(rejected, source), None) is not None:
        raise PermanentError(
            f"bronze/{source} in the lake {lake.uri} is gone, and silver has read it: restore {lake.uri_of('bronze', source)} from a backup, for its messages are nowhere else. "
            "Without a backup, begin a new lake: set MG_LAKE_URI to another place."
        )


def recorded_progress(lake: Lake, bronze: DeltaTable) -> int:
    """Return how far silver has read a bronze table, whatever that table has now."""
    return recorded_progress_of(lake, progress_app(bronze))


def recorded_progress_of(lake: Lake, app: str) -> int:
    """Return the same, by the transaction id of silver's progress."""
    rejected = lake.open("silver", REJECTED_ITEMS)
    return 0 if rejected is None else app_version(rejected, app) or 0


def progress_app(bronze: DeltaTable) -> str:
    """Return the transaction id of silver's progress. A recreated bronze table has another one."""
    return progress_app_of(str(bronze.metadata().id))


def progress_app_of(table_id: str) -> str:
    """Return the same, by the table's id."""
    return f"silver:{table_id}"
