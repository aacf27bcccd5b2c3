"""Silver: what bronze committed since the last time, flattened, each row once.

Progress is Delta's: a table's commit carries ``Transaction("silver:<bronze table id>", <bronze version>)``, so that
rows and progress land together. ``rejected_items`` is committed last, with every slice of bronze however few its
rejects: its transaction says that all tables have the slice. A crash between two tables leaves some ahead of it,
and the next run takes for each table only what that table lacks.

A message that makes flattening or a table's commit fail is set aside, and the rest of the slice goes on (:mod:`mg_lakehouse.silver.set_aside`).

The commit's metadata is the ledger of the slice (:class:`~mg_lakehouse.lake.ledger.SliceLedger`), which the conservation check adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from mg_lakehouse._util.memory import give_back
from mg_lakehouse.bronze.tables import BRONZE_TABLES, silver_spec
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE, silver_tables
from mg_lakehouse.events.culprits import content_errors
from mg_lakehouse.events.dedupe import Deduplicated, against_existing, content_columns, first_received
from mg_lakehouse.events.flatten import Flattened, fragments
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.events.rescued import reread
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.commit import Append, Landed, commit_once
from mg_lakehouse.lake.damage import remedy
from mg_lakehouse.lake.durable import make_durable
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake, store_errors
from mg_lakehouse.lake.ledger import SliceLedger, hours_of, posted_batches, posted_slices
from mg_lakehouse.silver.candidates import rows_near
from mg_lakehouse.silver.set_aside import AT_MOST, flatten_what_can_be, missing_rows, sift, too_many

__all__ = [
    "EVENT_TABLES",
    "SilverReport",
    "TableCount",
    "as_rejected",
    "flatten_new",
    "flatten_sources",
    "merged",
    "progress_app",
    "progress_app_of",
    "recorded_progress",
    "recorded_progress_of",
    "refuse_lost_bronze",
    "require_whole",
    "silver_progress",
    "unflattened",
]

EVENT_TABLES: Final = tuple(table for table in silver_tables() if table != REJECTED_ITEMS)

_VERSION: Final = "__bronze_version"
_LANE: Final = "lane"
"""Each commit of an event table moves it by one: two sources that flatten at once would each not see the other's copy of an activity."""

_LEFT_OUT: Final = "an earlier try could not commit it"

_LARGEST_SLICE: Final = 500
"""Bronze versions in one slice, at most; bytes cut it sooner."""


class TableCount(NamedTuple):
    """What a slice gave a table. ``conflicts`` are the duplicates whose content differs, which were rejected."""

    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def plus(self, other: TableCount) -> TableCount:
        """The sum of two."""
        return TableCount(self.rows + other.rows, self.duplicates + other.duplicates, self.conflicts + other.conflicts)


@dataclass(frozen=True, slots=True)
class SilverReport:
    """What a run flattened. ``tables`` counts event tables, ``rejected`` items by reason, ``set_aside`` messages by reason; versions are bronze's."""

    from_version: int
    to_version: int
    messages: int = 0
    items: int = 0
    tables: dict[str, TableCount] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows added to event tables."""
        return sum(count.rows for count in self.tables.values())


Progress = Callable[[SilverReport], None]


class _Progress(NamedTuple):
    """Bronze versions that silver has: ``all_tables`` in every table, ``own`` beyond it in single ones."""

    all_tables: int
    own: dict[str, int]

    def of(self, tables: Sequence[str]) -> int:
        """The version that all of these tables have."""
        return min(max(self.all_tables, self.own.get(table, 0)) for table in tables)


class _OvertakenError(Exception):
    """Another run brought a table into the middle of our slice. Its ledger and ours would overlap, so the rest is cut anew."""


def flatten_new(
    lake: Lake,
    *,
    source: str = "event_feed",
    tables: Sequence[str] | None = None,
    slice_bytes: int = 128 * 2**20,
    progress: Progress | None = None,
) -> SilverReport:
    """Flatten the bronze versions that silver lacks.

    Args:
        lake: the lake.
        source: the bronze table.
        tables: silver tables to bring up to date, none of them maybe; all by default, and with ``rejected_items``, whose commit says
            that all have the slice. With fewer the common progress stays, and a later full run gives the others what they lack.
        slice_bytes: bytes of bodies to flatten at a time, which bounds the memory: a slice is flattened while the one before it is committed.
        progress: called after each slice.

    Raises:
        PermanentError, TransientError: what was committed until then stays, and the next run goes on behind it. So where more messages are set
            aside than a few.
    """
    wanted = tuple(silver_tables() if tables is None or REJECTED_ITEMS in tables else tables)
    bronze = lake.open("bronze", source)
    if bronze is None:
        return SilverReport(0, 0)
    make_durable(bronze)  # another process may have committed it this moment, and silver's progress must not outlive it
    done = _progress(lake, bronze)
    if not wanted:
        return SilverReport(done.all_tables, done.all_tables)
    target = bronze.version()
    report = SilverReport(done.of(wanted), target)
    while (start := done.of(wanted)) < target:
        with store_errors(f"bronze/{source} in the lake {lake.uri}"):
            slices = list(_slices(bronze, start, target, cuts=(done.all_tables, *done.own.values()), slice_bytes=slice_bytes))
        parts = [_Slice(source, progress_app(bronze), low, high) for low, high in slices]
        try:
            for read in _read_ahead(lake, bronze, parts):
                report = _commit_slice(lake, read, wanted, report)
                if sum(report.set_aside.values()) > AT_MOST:
                    raise too_many(f"of bronze/{source}", next(iter(report.set_aside)))
                give_back()
                if progress is not None:
                    progress(report)
        except _OvertakenError:
            done = _progress(lake, bronze)
        else:
            break
    return report


def flatten_sources(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    slice_bytes: int = 128 * 2**20,
    progress: Progress | None = None,
) -> dict[str, SilverReport]:
    """Flatten what silver lacks of each bronze table, one after the other; the reports by source.

    ``progress`` is called with what was done of all of them. Otherwise as :func:`flatten_new`.

    Raises:
        PermanentError, TransientError: what was committed until then stays, and the next run goes on behind it.
    """
    reports: dict[str, SilverReport] = {}

    def tell(so_far: SilverReport) -> None:
        if progress is not None:
            progress(merged([*reports.values(), so_far]))

    for source in BRONZE_TABLES:
        reports[source] = flatten_new(lake, source=source, tables=tables, slice_bytes=slice_bytes, progress=tell)
    return reports


def merged(reports: Sequence[SilverReport]) -> SilverReport:
    """Reports of several sources as one, with the versions of the first."""
    tables: dict[str, TableCount] = {}
    rejected: Counter[str] = Counter()
    set_aside: Counter[str] = Counter()
    for report in reports:
        rejected.update(report.rejected)
        set_aside.update(report.set_aside)
        for table, count in report.tables.items():
            tables[table] = tables.get(table, TableCount()).plus(count)
    messages, items = sum(report.messages for report in reports), sum(report.items for report in reports)
    return SilverReport(reports[0].from_version, reports[0].to_version, messages, items, tables, dict(rejected), dict(set_aside))


def unflattened(lake: Lake, source: str = "event_feed") -> int:
    """Number of bronze versions that some silver table may lack."""
    bronze = lake.open("bronze", source)
    if bronze is None:
        return 0
    return bronze.version() - silver_progress(lake, bronze)


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


class _Slice(NamedTuple):
    """Bronze versions ``low + 1`` to ``high`` of a source, and under which id silver keeps its progress in it."""

    source: str
    app: str
    low: int
    high: int

    def is_cut_by(self, version: int) -> bool:
        """Whether a table that has bronze up to ``version`` has a part of the slice, which nobody but another run can have brought."""
        return self.low < version < self.high


def _progress(lake: Lake, bronze: DeltaTable) -> _Progress:
    app = progress_app(bronze)
    all_tables = silver_progress(lake, bronze)
    own = {}
    for table, handle in lake.open_all("silver", (*EVENT_TABLES, SET_ASIDE)).items():
        version = None if handle is None else handle.transaction_version(app)
        if version is not None and version > all_tables:
            own[table] = version
    return _Progress(all_tables, own)


def _slices(bronze: DeltaTable, start: int, target: int, *, cuts: Sequence[int], slice_bytes: int) -> Iterator[tuple[int, int]]:
    """Version ranges ``(low, high]``, bounded in bytes, with a border wherever a table is ahead of the others.

    So a table's ledger never straddles a border, and the ledgers between two borders add up.
    """
    newest = takewhile(lambda posted: posted.version > start, posted_batches(bronze))
    sizes = {posted.version: posted.ledger.bytes for posted in newest}
    borders = [start]
    size = 0
    for version in range(start + 1, target + 1):
        size += sizes.get(version, 0)
        if size >= slice_bytes or version - borders[-1] >= _LARGEST_SLICE or version in cuts or version == target:
            borders.append(version)
            size = 0
    yield from pairwise(borders)


class _ReadSlice(NamedTuple):
    """A slice with its messages and what they became; ``set_aside`` are the messages of which nothing was read."""

    part: _Slice
    messages: pl.DataFrame
    flattened: Flattened
    set_aside: pl.DataFrame


def _read_ahead(lake: Lake, bronze: DeltaTable, parts: Sequence[_Slice]) -> Iterator[_ReadSlice]:
    """The slices, flattened; each next one while the caller commits the one before, for neither keeps two cores busy alone."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        ahead = pool.submit(_read_slice, lake, bronze, parts[0])
        for following in parts[1:]:
            read = ahead.result()
            ahead = pool.submit(_read_slice, lake, bronze, following)
            yield read
        yield ahead.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_slice(lake: Lake, bronze: DeltaTable, part: _Slice) -> _ReadSlice:
    messages = _read_bronze(lake, bronze, part)
    flattened, set_aside = flatten_what_can_be(messages, source=part.source, carry=(_VERSION,))
    reached(Failpoint.SILVER_READ)
    if set_aside.height:
        messages = messages.join(set_aside, on="message_id", how="anti", maintain_order="left")
    return _ReadSlice(part, messages, flattened, set_aside)


def _commit_slice(lake: Lake, read: _ReadSlice, wanted: Sequence[str], report: SilverReport) -> SilverReport:
    part, messages, flattened, unread = read
    results = _commit_tables(lake, part, {table: rows for table, rows in flattened.tables.items() if table in wanted})
    counts = {table: committed.counts for table, committed in results.items()}
    conflicts = [as_rejected(each.conflicts, table, messages) for table, each in results.items() if each.conflicts.height]
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


def _read_bronze(lake: Lake, bronze: DeltaTable, part: _Slice) -> pl.DataFrame:
    """Messages of a slice, by the change feed: it shows what was appended and not what compaction rewrote."""
    columns = ["message_id", "body", "received_at", "received_date", "_commit_version"]
    with store_errors(f"bronze/{part.source} (versions {part.low + 1} to {part.high}) in the lake {lake.uri}"):
        stream = bronze.load_cdf(part.low + 1, part.high, columns=columns)
        frame = pl.DataFrame(stream.read_all())
    return frame.select(*columns[:-1], pl.col("_commit_version").cast(pl.Int64).alias(_VERSION)).sort("received_at", "message_id")


def _commit_tables(lake: Lake, part: _Slice, tables: dict[str, pl.DataFrame]) -> dict[str, _Committed]:
    """Commit the tables of a slice on all cores, the largest first. Where one fails, those that are under way are finished."""
    pool = ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="silver")
    ordered = sorted(tables, key=lambda table: -tables[table].height)
    try:
        commits = {table: pool.submit(_commit_table, lake, part, table, tables[table]) for table in ordered}
        return {table: commits[table].result() for table in tables}
    finally:
        pool.shutdown(cancel_futures=True)


class _Committed(NamedTuple):
    """What a table has of a slice: its counts, the conflicting rows, and what was set aside of it."""

    counts: TableCount
    conflicts: pl.DataFrame
    set_aside: pl.DataFrame


def _commit_table(lake: Lake, part: _Slice, table: str, rows: pl.DataFrame) -> _Committed:
    """Commit a table's rows of a slice. Returns what it has of it, also where it had that already."""

    def compare(handle: DeltaTable, some: pl.DataFrame) -> tuple[pl.DataFrame, Deduplicated, Deduplicated]:
        with content_errors(DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException):  # of files that cannot be read
            existing = _existing(lake, handle, table, some, part.source)
        with content_errors():
            # The table's own row first: whether a copy differs must not hang on which copies came in the same slice.
            against = against_existing(some, existing)
            return some, against, first_received(against.kept)

    def decide(handle: DeltaTable) -> Landed[_Committed] | Append[_Committed]:
        has = handle.transaction_version(part.app) or 0
        (sifted, against, among), reasons = sift(rows, partial(compare, handle), f"for silver/{table}")
        conflicts = pl.concat([against.conflicts, among.conflicts])
        count = TableCount(among.kept.height, among.duplicates + against.duplicates, conflicts.height)
        left_out = rows.filter(pl.col("message_id").is_in(list(reasons))) if reasons else rows.clear()
        if has >= part.high:
            # What an earlier try set aside, and this one could commit, is in no account yet.
            left_out = pl.concat([left_out, among.kept])
            reasons |= {message: reasons.get(message, _LEFT_OUT) for message in among.kept["message_id"]}
            set_aside = missing_rows(left_out, table, reasons, (_VERSION,))
            return Landed(_Committed(count._replace(rows=against.landed), conflicts, set_aside))
        if part.is_cut_by(has):
            raise _OvertakenError
        lacking = among.kept.filter(pl.col(_VERSION) > has)
        hours = Counter(hours_of(sifted["received_at"]))
        hours.subtract(Counter(hours_of(among.kept["received_at"])) + Counter(hours_of(conflicts["received_at"])))
        ledger = SliceLedger(part.source, part.low, part.high, **count._asdict(), hours={hour: n for hour, n in hours.items() if n})
        lane = handle.transaction_version(_LANE) or 0
        transactions = (Transaction(part.app, part.high), Transaction(_LANE, lane + 1))
        committed = _Committed(count, conflicts, missing_rows(left_out, table, reasons, (_VERSION,)))
        return Append(lacking.select(silver_schema(table).names()), transactions, committed, ledger.metadata())

    return commit_once(f"silver/{table} in the lake {lake.uri}", lambda: lake.ensure(silver_spec(table)), decide)


def _existing(lake: Lake, handle: DeltaTable, table: str, rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rows of the table with an activity id of ``rows``: their content, ``source``, ``message_id`` and ``item_index``.

    One that an older catalogue read stands there twice, the second time as this one reads it.
    """
    nothing = rows.select(*content_columns(rows), "source", "message_id", "item_index").clear()
    near = rows_near(lake, handle, rows["event_at"], [source])
    if near is None:
        return nothing
    # Two columns first: that there is a copy is the exception, and its content is wide.
    ids = near.select("activity_id").join(rows.lazy().select("activity_id"), on="activity_id", how="semi").unique().collect()
    if ids.is_empty():
        return nothing
    found = near.join(ids.lazy(), on="activity_id", how="semi").select(nothing.columns).collect().cast(nothing.schema)
    return pl.concat([found, reread(found, table)])


def as_rejected(conflicts: pl.DataFrame, table: str, messages: pl.DataFrame) -> pl.DataFrame:
    """Conflicting rows as rows of ``rejected_items``, with the item's text from bronze."""
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
        **{_VERSION: _VERSION},
    )


def _commit_rejected(lake: Lake, read: _ReadSlice, rejected: pl.DataFrame, set_aside: int) -> None:
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


def _commit_as_it_is(lake: Lake, part: _Slice, table: str, rows: pl.DataFrame, ledger: SliceLedger) -> None:
    """Commit rows of a slice that are compared with none."""

    def decide(handle: DeltaTable) -> Landed[None] | Append[None]:
        has = handle.transaction_version(part.app) or 0
        if has >= part.high:
            return Landed(None)
        if part.is_cut_by(has):
            raise _OvertakenError
        lacking = rows.filter(pl.col(_VERSION) > has).select(silver_schema(table).names())
        return Append(lacking, (Transaction(part.app, part.high),), None, ledger.metadata())

    commit_once(f"silver/{table} in the lake {lake.uri}", lambda: lake.ensure(silver_spec(table)), decide)
