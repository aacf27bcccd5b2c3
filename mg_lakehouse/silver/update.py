"""Updates silver: flattens what bronze committed since the last run, each event once.

Delta keeps the progress: a table's commit carries ``Transaction("silver:<bronze table id>", <bronze version>)``, so
rows and progress are committed together. ``rejected_items`` is committed last, for every slice of bronze, even without
rejects: its transaction states that all tables have the slice. A crash between two tables leaves some ahead of it,
and the next run gives each table only what that table lacks.

A message that makes flattening or a table's commit fail is set aside, and the rest of the slice goes on (:mod:`mg_lakehouse.silver.set_aside`).

The commit's metadata is the ledger of the slice (:class:`~mg_lakehouse.lake.ledger.SliceLedger`); the conservation check adds the ledgers up.
"""

from __future__ import annotations

from collections.abc import Sequence

from mg_lakehouse._util.memory import release_freed_memory
from mg_lakehouse.bronze.read_progress import progress_app, silver_progress
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.lake.durable import make_durable
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.commit import SliceOvertakenError, commit_slice
from mg_lakehouse.silver.progress import TableProgress, table_progress
from mg_lakehouse.silver.report import ProgressCallback, SilverReport, merged
from mg_lakehouse.silver.set_aside import AT_MOST, too_many
from mg_lakehouse.silver.slices import Slice, read_ahead, slices_of

__all__ = ["flatten_new", "flatten_sources"]


def flatten_new(
    lake: Lake,
    *,
    source: str = "event_feed",
    tables: Sequence[str] | None = None,
    slice_bytes: int = 128 * 2**20,
    progress: ProgressCallback | None = None,
) -> SilverReport:
    """Flatten the bronze versions that silver lacks.

    Args:
        lake: the lake.
        source: the bronze table.
        tables: silver tables to update, possibly none. The default is all; ``rejected_items`` also means all, for its commit states
            that all have the slice. With fewer tables the common progress stays, and a later full run gives the others what they lack.
        slice_bytes: bytes of bodies to flatten at a time. This limits the memory: a slice is flattened while the one before it is committed.
        progress: called after each slice.

    Raises:
        PermanentError, TransientError: what is committed stays, and the next run goes on behind it. Also raised when more than a few messages
            are set aside.
    """
    selected = tuple(silver_tables() if tables is None or REJECTED_ITEMS in tables else tables)
    bronze = lake.open("bronze", source)
    if bronze is None:
        return SilverReport(0, 0)
    make_durable(bronze)  # another process may just have committed it, and silver's progress must not outlive it
    # A table may be ahead of the others only after a crash, which the commit finds out; where some tables go on without the others, these are.
    done = TableProgress(silver_progress(lake, bronze), {}) if REJECTED_ITEMS in selected else table_progress(lake, bronze)
    if not selected:
        return SilverReport(done.all_tables, done.all_tables)
    target = bronze.version()
    report = SilverReport(done.common_version(selected), target)
    while (start := done.common_version(selected)) < target:
        with store_errors(f"bronze/{source} in the lake {lake.uri}"):
            slices = list(slices_of(bronze, start, target, cuts=(done.all_tables, *done.own.values()), slice_bytes=slice_bytes))
        parts = [Slice(source, progress_app(bronze), low, high) for low, high in slices]
        try:
            for read in read_ahead(lake, bronze, parts):
                report = commit_slice(lake, read, selected, report)
                if sum(report.set_aside.values()) > AT_MOST:
                    raise too_many(f"of bronze/{source}", next(iter(report.set_aside)))
                release_freed_memory()
                if progress is not None:
                    progress(report)
        except SliceOvertakenError:
            done = table_progress(lake, bronze)
        else:
            break
    return report


def flatten_sources(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    slice_bytes: int = 128 * 2**20,
    progress: ProgressCallback | None = None,
) -> dict[str, SilverReport]:
    """Flatten what silver lacks of each bronze table, one after the other. Returns the reports by source.

    ``progress`` is called with the merged report of all sources. Otherwise as :func:`flatten_new`.

    Raises:
        PermanentError, TransientError: what is committed stays, and the next run goes on behind it.
    """
    reports: dict[str, SilverReport] = {}

    def report_progress(so_far: SilverReport) -> None:
        if progress is not None:
            progress(merged([*reports.values(), so_far]))

    written = lake.written("bronze")
    for source in BRONZE_TABLES:
        if source not in written:
            reports[source] = SilverReport(0, 0)
            continue
        reports[source] = flatten_new(lake, source=source, tables=tables, slice_bytes=slice_bytes, progress=report_progress)
    return reports
