"""How far silver has read a bronze table, and whether the table reaches so far.

Progress is Delta's: a commit of silver carries ``Transaction("silver:<bronze table id>", <bronze version>)``. Whoever writes
bronze asks here first, for what went into versions that silver has read, silver would never read. So it stands below silver.
"""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS
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
    """The bronze version up to which every silver table has everything.

    Raises:
        PermanentError: bronze does not reach so far: it lost commits, and silver would take new ones for those that it has.
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
    """Look, before anything is received, whether a bronze table can take it: what went into versions that silver has read, it would never read.

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
    """Refuse to go on without a bronze table, which is not there, where silver has read one: a new one in its place would hide what is lost.

    Raises:
        PermanentError: silver has.
        TransientError: the store did not answer.
    """
    rejected = lake.open("silver", REJECTED_ITEMS)
    if rejected is not None and next(posted_slices(rejected, source), None) is not None:
        raise PermanentError(
            f"bronze/{source} in the lake {lake.uri} is gone, and silver has read it: restore {lake.uri_of('bronze', source)} from a backup, for its messages are nowhere else. "
            "Where there is none, begin a new lake: set MG_LAKE_URI to another place."
        )


def recorded_progress(lake: Lake, bronze: DeltaTable) -> int:
    """What silver says that it has read of a bronze table, whatever that one has."""
    return recorded_progress_of(lake, progress_app(bronze))


def recorded_progress_of(lake: Lake, app: str) -> int:
    """The same by the id of the transactions in which silver keeps it."""
    rejected = lake.open("silver", REJECTED_ITEMS)
    return 0 if rejected is None else rejected.transaction_version(app) or 0


def progress_app(bronze: DeltaTable) -> str:
    """Id of the transactions in which silver keeps its progress. A bronze table that was made anew has another one."""
    return progress_app_of(str(bronze.metadata().id))


def progress_app_of(table_id: str) -> str:
    """The same by the table's id."""
    return f"silver:{table_id}"
