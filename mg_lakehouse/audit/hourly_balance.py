"""The hourly balance: messages received against rows in bronze, and items in bronze against rows, rejects and duplicates in silver.

It compares three independent sources: the ledgers in bronze's commits (what was received), the rows that are in the tables now, and the
ledgers in silver's commits (items seen, duplicates dropped). All hours are UTC hours of receipt.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.audit.item_coverage import coverage
from mg_lakehouse.bronze.read_progress import silver_progress
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.commit_log import commits_of, committed_at, log_begins
from mg_lakehouse.lake.damage import refuse_empty_entries
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import data_files, may_hold, meets
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import (
    REDERIVED,
    SKEW,
    BatchLedger,
    Posted,
    RetryLedger,
    SliceLedger,
    hours_of,
    ids_digest,
    posted,
    posted_batches,
    posted_slices,
    since,
)
from mg_lakehouse.lake.log_files import log_of
from mg_lakehouse.location import Layer
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["HourBalance", "HourlyBalance", "balance_hours", "balance_hours_of_sources"]

_Silver = Mapping[str, DeltaTable | None]
"""Silver's tables by name, opened once."""

_TYPES: Final = {"received_at": TIMESTAMP, "items": pl.Int64()}


class HourBalance(NamedTuple):
    """An hour's counts. Messages: ``received`` by the ledgers, ``in_bronze`` as rows, ``waiting`` of these to be flattened. Then items."""

    hour: str
    received: int
    in_bronze: int
    waiting: int
    items: int
    rows: int
    rejected: int
    duplicates: int
    set_aside: int = 0
    unbalanced_sources: int = 0

    def plus(self, other: HourBalance) -> HourBalance:
        """Add two sources of the same hour. The sum balances only if each does."""
        counts = (mine + theirs for mine, theirs in zip(self[1:-1], other[1:-1], strict=True))
        wrong = sum(source.unbalanced_sources or not source.balances for source in (self, other))
        return HourBalance._make((self.hour, *counts, wrong))

    @property
    def messages_missing(self) -> int:
        """Messages that were received and are not in bronze; negative if bronze has more."""
        return self.received - self.in_bronze

    @property
    def items_missing(self) -> int:
        """Items that are missing; negative if something is counted twice."""
        return self.items - self.rows - self.rejected - self.duplicates - self.set_aside

    @property
    def balances(self) -> bool:
        """Whether nothing is missing and nothing is counted twice."""
        return self.messages_missing == self.items_missing == self.unbalanced_sources == 0


@dataclass(frozen=True, slots=True)
class HourlyBalance:
    """The hours with any count, in order, and the ids of batches whose messages are not those that were committed."""

    hours: tuple[HourBalance, ...]
    changed_batches: tuple[str, ...]
    asked_since: datetime | None = None
    """Start of the first requested hour."""
    proved_since: datetime | None = None
    """Start of the first hour from which every log is complete; ``None`` if that is none of the requested hours."""
    without_message: int = 0
    """Messages of the requested hours that silver has rows of and bronze lacks."""
    uncovered: int = 0
    """Items that begin in bodies, by a count independent of the readers, and are in no row and no reject."""
    overlooked: tuple[str, ...] = ()
    """Ids of messages that were rejected because not all of their items were read: the hours balance with them."""

    @property
    def balances(self) -> bool:
        """Whether every provable hour balances, every batch is as committed, no item is uncovered, and bronze has the messages of all silver rows."""
        nothing_else = not (self.uncovered or self.changed_batches or self.without_message)
        return nothing_else and all(hour.balances for hour in self.hours)

    @property
    def proves_all(self) -> bool:
        """Whether the logs cover all requested hours."""
        return self.proved_since is not None and self.proved_since == self.asked_since


def balance_hours(lake: Lake, first: datetime, last: datetime, *, source: str = "event_feed") -> HourlyBalance:
    """Balance the hours of ``first`` to ``last``, both included, as far as the Delta logs go back; the result says how far.

    Raises:
        PermanentError: a table is damaged, or cannot be read.
        TransientError: the store did not answer.
    """
    return _balances(lake, first, last, [source])[0][0]


def _balances(lake: Lake, first: datetime, last: datetime, sources: Sequence[str]) -> tuple[list[HourlyBalance], _Silver]:
    asked = _Span(_hour(first), _hour(last) + timedelta(hours=1) - timedelta(microseconds=1))
    _refuse_hollow_logs(lake, sources)
    bronze = lake.open_all("bronze", sources)
    read = side_by_side(lambda source: _Source(source, bronze[source], _finished(lake, bronze[source])), sources)
    # After silver's progress was read, so that each table has all up to it.
    silver = lake.open_all("silver", (*EVENT_TABLES, REJECTED_ITEMS, SET_ASIDE))
    return side_by_side(lambda source: _balance(lake, asked, source, silver), read), silver


class _Source(NamedTuple):
    """A bronze table, opened, and the version of it up to which every silver table has everything."""

    name: str
    bronze: DeltaTable | None
    finished: int


def _finished(lake: Lake, bronze: DeltaTable | None) -> int:
    return 0 if bronze is None else silver_progress(lake, bronze)


def _balance(lake: Lake, asked: _Span, source: _Source, opened: _Silver) -> HourlyBalance:
    bronze, finished = source.bronze, source.finished
    span = _as_far_as_logs_go(lake, bronze, opened, asked)
    proved_since = None if span is None else span.first
    if bronze is None:
        return HourlyBalance((), (), asked.first, proved_since, _without_message(lake, source, opened, asked))
    with store_errors(f"bronze/{source.name} in the lake {lake.uri}"):
        held = _rows(lake, bronze, asked, "message_id", "batch_id", "received_at")
        if span is None:
            return HourlyBalance((), (), asked.first, None, _without_message(lake, source, opened, asked, held))
        batches = list(since(posted_batches(bronze), span.first))
    silver = side_by_side(lambda table: _table(lake, table, source, opened, span), (*EVENT_TABLES, REJECTED_ITEMS))
    rejected = silver.pop()
    received = _sum(posted.ledger.hours for posted in batches)
    waiting = _sum(posted.ledger.hours for posted in batches if posted.version > finished)
    in_bronze = Counter(hours_of(held["received_at"]))
    rows = _sum(table.rows for table in silver)
    aside = _set_aside(lake, source, opened, span)
    duplicates = _sum([*(table.account for table in silver), aside.duplicates])
    items = _sum([rejected.account, aside.items])
    hours = sorted(hour for hour in {*received, *in_bronze, *items, *rows, *rejected.rows} if span.holds(hour))
    columns = (received, in_bronze, waiting, items, rows, rejected.rows, duplicates, aside.rows)
    balances = (HourBalance(hour, *(column[hour] for column in columns)) for hour in hours)
    lacking = _without_message(lake, source, opened, asked, held)
    return HourlyBalance(tuple(balances), tuple(_changed(batches, held, span)), asked.first, proved_since, lacking)


def balance_hours_of_sources(lake: Lake, first: datetime, last: datetime) -> HourlyBalance:
    """Balance hours as :func:`balance_hours` does, for all bronze tables together.

    Each table is balanced by itself first: a surplus of one does not make up for what another lacks.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    hours: dict[str, HourBalance] = {}
    changed: list[str] = []
    by_source, silver = _balances(lake, first, last, list(BRONZE_TABLES))
    for balance in by_source:
        changed += balance.changed_batches
        for hour in balance.hours:
            known = hours.get(hour.hour)
            hours[hour.hour] = hour if known is None else known.plus(hour)
    proved = [balance.proved_since for balance in by_source if balance.proved_since is not None]
    return HourlyBalance(
        tuple(hours[key] for key in sorted(hours)),
        tuple(changed),
        by_source[0].asked_since,
        max(proved) if len(proved) == len(by_source) else None,
        sum(balance.without_message for balance in by_source),
        **coverage(lake, silver[REJECTED_ITEMS], _hour(first), _hour(last) + timedelta(hours=1))._asdict(),
    )


class _Span(NamedTuple):
    """Whole hours, from the first to the last microsecond."""

    first: datetime
    last: datetime

    def holds(self, hour: str) -> bool:
        return self.first <= datetime.fromisoformat(f"{hour}:00+00:00") <= self.last


def _refuse_hollow_logs(lake: Lake, sources: Sequence[str]) -> None:
    """Refuse a log with an empty entry: it would count as a commit without actions, even before a checkpoint."""
    if not lake.is_local:
        return
    tables: list[tuple[Layer, str]] = [("bronze", source) for source in sources]
    tables += [("silver", table) for table in (*EVENT_TABLES, REJECTED_ITEMS, SET_ASIDE)]
    for layer, table in tables:
        folder = Path(lake.uri_of(layer, table))
        if log_of(folder).is_dir():
            refuse_empty_entries(folder, f"{layer}/{table} in the lake {lake.uri}")


def _as_far_as_logs_go(lake: Lake, bronze: DeltaTable | None, silver: _Silver, span: _Span) -> _Span | None:
    """Return the hours of a span that every table's log still covers: maintenance removes old entries. ``None`` if none is left."""

    def complete_from(handle: DeltaTable) -> datetime:
        layer = "bronze" if handle is bronze else "silver"
        with store_errors(f"{layer}/{handle.metadata().name} in the lake {lake.uri}"):
            begins = _accounts_begin(handle, span.first)
        return span.first if begins is None else max(span.first, _hour(begins) + timedelta(hours=1))

    handles = [handle for handle in (bronze, *(silver[table] for table in (*EVENT_TABLES, REJECTED_ITEMS))) if handle is not None]
    first = max(side_by_side(complete_from, handles), default=span.first)
    return span._replace(first=first) if first <= span.last else None


def _accounts_begin(handle: DeltaTable, first: datetime) -> datetime | None:
    """Return when a log's oldest ledger was written; ``None`` if it has all since a time. A table that a backfill rebuilt has none of the earlier ones."""
    if any(committed_at(commit) < first - SKEW for commit in commits_of(handle)):
        return None
    oldest = deque(commits_of(handle), maxlen=2)
    if oldest[-1]["version"] == 0 and REDERIVED in oldest[0]:
        return committed_at(oldest[0])
    return log_begins(handle)


def _without_message(lake: Lake, source: _Source, silver: _Silver, span: _Span, held: pl.DataFrame | None = None) -> int:
    """Count the messages that silver has rows of, from slices that all tables have, and that are not in ``held``, bronze's rows."""
    ids = pl.LazyFrame(schema={"message_id": pl.String}) if held is None else held.lazy().select("message_id")

    def lost_of(named: tuple[str, DeltaTable]) -> pl.Series:
        table, handle = named
        with store_errors(f"silver/{table} in the lake {lake.uri}"):
            if held is not None:
                handle, _ = _closed(lake, table, handle, posted_slices(handle, source.name, above=source.finished), source)
            rows = _rows(lake, handle, span, "message_id", source=source.name).lazy()
            return rows.join(ids, on="message_id", how="anti").unique().collect(engine="streaming")["message_id"]

    lost = side_by_side(lost_of, [(table, handle) for table, handle in silver.items() if handle is not None])
    return len(set[str]().union(*lost))


def _closed(
    lake: Lake, table: str, handle: DeltaTable, accounts: Iterable[Posted[SliceLedger]], source: _Source
) -> tuple[DeltaTable, list[Posted[SliceLedger]]]:
    """Return the table as of the last slice that all tables have, and the ledgers up to it: a running slice is in some tables and not in others."""
    known = list(accounts)
    if ahead := [account.version for account in known if account.ledger.high > source.finished]:
        handle = lake.open("silver", table) or handle
        handle.load_as_version(min(ahead) - 1)
    return handle, [account for account in known if account.ledger.high <= source.finished]


class _Table(NamedTuple):
    """A silver table's rows by hour, and its ledgers' count by hour: duplicates, or items for ``rejected_items``."""

    rows: Counter[str]
    account: Counter[str]


def _table(lake: Lake, table: str, source: _Source, silver: _Silver, span: _Span) -> _Table:
    if (newest := silver[table]) is None:
        return _Table(Counter(), Counter())
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        handle, accounts = _closed(lake, table, newest, since(posted_slices(newest, source.name), span.first), source)
        rows = _rows(lake, handle, span, "received_at", source=source.name)
    return _Table(Counter(hours_of(rows["received_at"])), _sum(account.ledger.hours for account in accounts))


class _SetAside(NamedTuple):
    """By hour: items set aside, and for messages that were flattened later, their duplicates and the items not counted before."""

    rows: Counter[str]
    duplicates: Counter[str]
    items: Counter[str]


def _set_aside(lake: Lake, source: _Source, silver: _Silver, span: _Span) -> _SetAside:
    if (newest := silver[SET_ASIDE]) is None:
        return _SetAside(Counter(), Counter(), Counter())
    with store_errors(f"silver/{SET_ASIDE} in the lake {lake.uri}"):
        handle, _ = _closed(lake, SET_ASIDE, newest, since(posted_slices(newest, source.name), span.first), source)
        retries = [account.ledger for account in since(posted(handle, RetryLedger), span.first)]
        rows = _rows(lake, handle, span, "received_at", "items", source=source.name)
    times = rows.select(pl.col("received_at").repeat_by("items").explode().drop_nulls()).to_series()
    return _SetAside(
        Counter(hours_of(times)),
        _sum(retry.duplicates.get(source.name, {}) for retry in retries),
        _sum(retry.items.get(source.name, {}) for retry in retries),
    )


def _rows(lake: Lake, handle: DeltaTable, span: _Span, *columns: str, source: str | None = None) -> pl.DataFrame:
    """Read some columns of the rows received within a span, in silver of those from a source."""
    of_source = pl.lit(value=True) if source is None else may_hold("source", source)
    files = data_files(handle, "received_at", "source").filter(meets("received_at", [span]) & of_source)["address"].to_list()
    if not files:
        return pl.DataFrame(schema={name: _TYPES.get(name, pl.String()) for name in columns})
    wanted = pl.col("received_at").is_between(*span)
    if source is not None:
        wanted &= pl.col("source") == source
    return lake.scan(files, handle).filter(wanted).select(columns).collect(engine="streaming")


def _changed(batches: list[Posted[BatchLedger]], held: pl.DataFrame, span: _Span) -> Iterator[str]:
    """Yield batches within the hours whose message ids differ from their ledger."""
    ids_of_batch = {str(batch_id): list(ids) for batch_id, ids in held.group_by("batch_id").agg("message_id").iter_rows()}
    for batch in batches:
        whole = all(span.holds(hour) for hour in batch.ledger.hours)
        if whole and ids_digest(ids_of_batch.get(batch.ledger.batch_id, [])) != batch.ledger.ids:
            yield batch.ledger.batch_id


def _hour(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
