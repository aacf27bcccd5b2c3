"""What an earlier try of a run committed to silver and told nobody: it failed, or was killed, between its commits and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import Posted, SliceLedger, posted, posted_from
from mg_lakehouse.silver.report import SilverReport, TableCount

__all__ = ["committed_earlier"]


def committed_earlier(
    lake: Lake, tables: Sequence[str], first: datetime, *, before: Mapping[str, int], reports: Mapping[str, SilverReport]
) -> SilverReport:
    """Sum the ledgers of commits since ``first`` that a try's own report has not.

    Args:
        lake: the lake.
        tables: the silver tables to look at.
        first: since when an earlier try may have committed.
        before: the version of each table when this try began; -1 where there was none.
        reports: this try's reports by source. A slice that it went on with is in them whole, with what had been committed of it.

    Raises:
        PermanentError, TransientError: a table cannot be read.
    """
    counts: dict[str, TableCount] = {}
    rejected: Counter[str] = Counter()
    messages = items = 0
    for table in tables:
        handle = lake.open("silver", table)
        ledgers = (
            []
            if handle is None
            else [account for account in posted_from(posted(handle, SliceLedger), first) if _is_unreported(account, before[table], reports)]
        )
        if table == REJECTED_ITEMS:
            messages, items = sum(account.ledger.messages for account in ledgers), sum(account.ledger.items for account in ledgers)
            for account in ledgers:
                rejected.update(_reasons(lake, account.version))
        else:
            for account in ledgers:
                ledger = account.ledger
                counts[table] = counts.get(table, TableCount()).plus(TableCount(ledger.rows, ledger.duplicates, ledger.conflicts))
    return SilverReport(0, 0, messages, items, counts, dict(rejected))


def _is_unreported(account: Posted[SliceLedger], before: int, reports: Mapping[str, SilverReport]) -> bool:
    own = reports.get(account.ledger.source)
    return account.version <= before and (own is None or account.ledger.high <= own.from_version)


def _reasons(lake: Lake, version: int) -> dict[str, int]:
    """Count the rejects of a commit by reason."""
    handle = lake.open("silver", REJECTED_ITEMS)
    assert handle is not None
    with store_errors(f"silver/{REJECTED_ITEMS} in the lake {lake.uri}"):
        rows = pl.DataFrame(handle.load_cdf(version, version, columns=["reason"]))
    return dict(rows.group_by("reason").len().iter_rows())
