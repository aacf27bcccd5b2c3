"""Commits a slice: each table's rows and its progress in one transaction, without duplicates.

``rejected_items`` is committed last, even without rows: its commit states that all tables have the slice.
A message that makes a table's commit fail is set aside, and the rest goes on (:mod:`mg_lakehouse.silver.set_aside`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE
from mg_lakehouse.events.culprits import content_errors
from mg_lakehouse.events.dedupe import Deduplicated, against_existing, content_columns, first_received
from mg_lakehouse.events.flatten import fragments
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.events.rescued import reread
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.commit import AlreadyCommitted, Append, commit_once
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger, hours_of
from mg_lakehouse.silver.known_ids import KnownIds, keys_of, known_ids
from mg_lakehouse.silver.report import SilverReport, TableCount
from mg_lakehouse.silver.set_aside import missing_rows, sift
from mg_lakehouse.silver.slices import BRONZE_VERSION, ReadSlice, Slice
from mg_lakehouse.silver.tables import silver_spec

__all__ = ["SliceOvertakenError", "as_rejected", "commit_slice"]

_LANE: Final = "lane"
"""The fencing counter. Each commit of an event table moves it by one: two sources flattened at the same time would not see each other's copy of an activity."""

_KEY: Final = "__key"
_AT_ONCE_IN_A_STORE: Final = 8
"""Commits at a time to a store: each waits for some eight answers, one after the other, and 19 tables two by two took 4 s at 50 ms an answer."""

_LEFT_OUT: Final = "an earlier try could not commit it"


class SliceOvertakenError(Exception):
    """Another run committed a table up to the middle of this slice. Its ledger and ours would overlap, so the remaining slices are cut again."""


def commit_slice(lake: Lake, read: ReadSlice, wanted: Sequence[str], report: SilverReport) -> SilverReport:
    """Commit a flattened slice, ``rejected_items`` last, and return the report with the slice added."""
    part, messages, flattened, unread = read
    results = _commit_tables(lake, part, {table: rows for table, rows in flattened.tables.items() if table in wanted})
    counts = {table: committed.counts for table, committed in results.items()}
    conflicts = [as_rejected(committed.conflicts, table, messages) for table, committed in results.items() if committed.conflicts.height]
    rejected = pl.concat([flattened.rejected, *conflicts])
    set_aside = pl.concat([unread, *(committed.set_aside for committed in results.values())])
    if REJECTED_ITEMS in wanted:
        if set_aside.height:
            ledger = SliceLedger(part.source, part.low, part.high, rows=set_aside.height)
            _commit_as_it_is(lake, part, SET_ASIDE, set_aside, ledger)
        _commit_rejected(lake, read, rejected, int(set_aside["items"].sum()))
    reasons = dict(rejected.group_by("reason").len().iter_rows())
    unforeseen = dict(set_aside.group_by("reason").agg(pl.col("message_id").n_unique()).iter_rows())
    return SilverReport(
        report.from_version,
        report.to_version,
        report.messages + flattened.messages + unread.height,
        report.items + flattened.items + int(unread["items"].sum()),
        {table: report.tables.get(table, TableCount()).plus(counts.get(table, TableCount())) for table in (*report.tables, *counts)},
        {reason: report.rejected.get(reason, 0) + reasons.get(reason, 0) for reason in (*report.rejected, *reasons)},
        {reason: report.set_aside.get(reason, 0) + unforeseen.get(reason, 0) for reason in (*report.set_aside, *unforeseen)},
    )


def _commit_tables(lake: Lake, part: Slice, tables: dict[str, pl.DataFrame]) -> dict[str, _Committed]:
    """Commit the tables of a slice on all cores, the largest first. If one fails, the commits under way are finished."""
    workers = pl.thread_pool_size() if lake.is_local else max(_AT_ONCE_IN_A_STORE, pl.thread_pool_size())
    pool = ThreadPoolExecutor(workers, thread_name_prefix="silver")
    ordered = sorted(tables, key=lambda table: -tables[table].height)
    try:
        commits = {table: pool.submit(_commit_table, lake, part, table, tables[table]) for table in ordered}
        return {table: commits[table].result() for table in tables}
    finally:
        pool.shutdown(cancel_futures=True)


class _Committed(NamedTuple):
    """A table's share of a slice: its counts, the conflicting rows, and the rows set aside."""

    counts: TableCount
    conflicts: pl.DataFrame
    set_aside: pl.DataFrame


def _commit_table(lake: Lake, part: Slice, table: str, rows: pl.DataFrame) -> _Committed:
    """Commit a table's rows of a slice. Returns its share of the slice, also where it was committed before."""
    rows = rows.with_columns(keys_of(rows["activity_id"]).alias(_KEY))
    appended: list[tuple[KnownIds, pl.DataFrame]] = []

    def compare(known: KnownIds, some: pl.DataFrame) -> tuple[pl.DataFrame, Deduplicated, Deduplicated]:
        with content_errors(DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException):  # a file cannot be read
            existing = _existing(known, table, some)
        with content_errors():
            # The table's own row first: whether a copy differs must not depend on which copies came in the same slice.
            against = against_existing(some, existing)
            return some, against, first_received(against.kept)

    def decide(handle: DeltaTable) -> AlreadyCommitted[_Committed] | Append[_Committed]:
        appended.clear()
        has = app_version(handle, part.app) or 0
        known = known_ids(lake, handle)
        (sifted, against, among), reasons = sift(rows, partial(compare, known), f"for silver/{table}")
        conflicts = pl.concat([against.conflicts, among.conflicts])
        count = TableCount(among.kept.height, among.duplicates + against.duplicates, conflicts.height)
        left_out = rows.filter(pl.col("message_id").is_in(list(reasons))) if reasons else rows.clear()
        if has >= part.high:
            # Rows that an earlier try set aside, and this one could commit, are in no ledger yet.
            left_out = pl.concat([left_out, among.kept])
            reasons |= {message: reasons.get(message, _LEFT_OUT) for message in among.kept["message_id"]}
            set_aside = missing_rows(left_out, table, reasons, (BRONZE_VERSION,))
            return AlreadyCommitted(_Committed(count._replace(rows=against.landed), conflicts, set_aside))
        if part.is_cut_by(has):
            raise SliceOvertakenError
        lacking = among.kept.filter(pl.col(BRONZE_VERSION) > has)
        hours = Counter(hours_of(sifted["received_at"]))
        hours.subtract(Counter(hours_of(among.kept["received_at"])) + Counter(hours_of(conflicts["received_at"])))
        ledger = SliceLedger(part.source, part.low, part.high, **count._asdict(), hours={hour: n for hour, n in hours.items() if n})
        fence = app_version(handle, _LANE) or 0
        transactions = (Transaction(part.app, part.high), Transaction(_LANE, fence + 1))
        committed = _Committed(count, conflicts, missing_rows(left_out, table, reasons, (BRONZE_VERSION,)))
        appended.append((known, lacking))
        # A rebuild has no fencing counter, for it would never end beside a busy feed. What it added in between may be a copy of these rows.
        return Append(lacking.select(silver_schema(table).names()), transactions, committed, ledger.metadata(), others_may_commit=False)

    committed = commit_once(f"silver/{table} in the lake {lake.uri}", lambda: lake.ensure(silver_spec(table)), decide)
    for known, lacking in appended:
        known.add(lacking[_KEY], lacking["event_at"])
    return committed


def _existing(known: KnownIds, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the table's rows with an activity id of ``rows``: their content, ``source``, ``message_id`` and ``item_index``.

    A row written with an older catalogue comes twice, the second time as this catalogue reads it.
    """
    nothing = rows.select(*content_columns(rows), "source", "message_id", "item_index").clear()
    near = known.rows(rows["activity_id"], rows[_KEY])
    if near is None:
        return nothing
    # Two columns first: copies are rare, and the content is wide.
    ids = near.select("activity_id").unique().collect()
    if ids.is_empty():
        return nothing
    copies = near.join(ids.lazy(), on="activity_id", how="semi").select(nothing.columns).collect().cast(nothing.schema)
    return pl.concat([copies, reread(copies, table)])


def as_rejected(conflicts: pl.DataFrame, table: str, messages: pl.DataFrame) -> pl.DataFrame:
    """Turn conflicting rows into rows of ``rejected_items``, with the item's text from bronze."""
    bodies = conflicts.join(messages.select("message_id", "body"), on="message_id", how="left", maintain_order="left")
    texts = fragments(bodies["body"], bodies["item_index"])
    return conflicts.select(
        "message_id",
        "item_index",
        element=pl.Series(texts, dtype=pl.String).str.extract(r"^<(?:[^\s:/>]+:)?([^\s/>]+)"),
        reason=pl.lit(Reason.CONFLICTING_ACTIVITY_ID.value),
        detail=pl.format("silver/" + table + " has another event under activity id {}.", "activity_id"),
        fragment=pl.Series(texts, dtype=pl.String),
        source="source",
        received_at="received_at",
        received_date="received_date",
        **{BRONZE_VERSION: BRONZE_VERSION},
    )


def _commit_rejected(lake: Lake, read: ReadSlice, rejected: pl.DataFrame, set_aside: int) -> None:
    part, messages, flattened, unread = read
    hours = Counter(hours_of(messages["received_at"].repeat_by(flattened.items_of).explode().drop_nulls()))
    hours.update(hours_of(unread["received_at"].repeat_by(unread["items"]).explode().drop_nulls()))
    account = {
        "rows": rejected.height,
        "messages": flattened.messages + unread.height,
        "items": flattened.items + int(unread["items"].sum()),
        "counted": flattened.counted + int(unread["items"].sum()),
        "set_aside": set_aside,
    }
    ledger = SliceLedger(part.source, part.low, part.high, hours=dict(sorted(hours.items())), **account)
    _commit_as_it_is(lake, part, REJECTED_ITEMS, rejected, ledger)


def _commit_as_it_is(lake: Lake, part: Slice, table: str, rows: pl.DataFrame, ledger: SliceLedger) -> None:
    """Commit rows of a slice without looking for duplicates."""

    def decide(handle: DeltaTable) -> AlreadyCommitted[None] | Append[None]:
        has = app_version(handle, part.app) or 0
        if has >= part.high:
            return AlreadyCommitted(None)
        if part.is_cut_by(has):
            raise SliceOvertakenError
        lacking = rows.filter(pl.col(BRONZE_VERSION) > has).select(silver_schema(table).names())
        return Append(lacking, (Transaction(part.app, part.high),), None, ledger.metadata())

    commit_once(f"silver/{table} in the lake {lake.uri}", lambda: lake.ensure(silver_spec(table)), decide)
