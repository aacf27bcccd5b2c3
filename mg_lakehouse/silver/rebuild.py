"""Rebuilds days of silver from bronze: after a repaired mapping, a lost table or a bug.

A day (UTC, of receipt) is flattened again from all of its bronze messages and compared with silver. Only the difference is committed, in one
commit per table and day. So a correct day costs no commit, gold recomputes only the keys whose rows changed, and a dry run can report the
difference. The rebuild keeps the copy of an activity that silver has, else the first received, and none that another day's partition has.

It runs beside live ingestion. It reads only messages that the table has flattened, and its commit succeeds only if nobody wrote to that day's
partition in between, which delta-rs checks. Otherwise it reads the day of that table again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Final, NamedTuple

import polars as pl
from deltalake import DeltaTable

from mg_lakehouse._util.dates import days_between
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE, silver_tables
from mg_lakehouse.events.dedupe import against_existing, first_received
from mg_lakehouse.events.rescued import may_be_older, reread
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.commit import AlreadyCommitted, OvertakenError, Replace, commit_once
from mg_lakehouse.lake.commit_log import app_version, commits_of
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import REDERIVED
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.lake.sql import text
from mg_lakehouse.silver.commit import as_rejected
from mg_lakehouse.silver.known_ids import KnownIds, known_ids
from mg_lakehouse.silver.set_aside import Retried, read_set_aside
from mg_lakehouse.silver.slices import BRONZE_VERSION
from mg_lakehouse.silver.staged_day import (
    CONTENT,
    ROW,
    Source,
    StagedDay,
    keys_of,
    partition_files,
    staged_day,
    with_all_columns,
    with_fingerprints,
)
from mg_lakehouse.silver.tables import EVENT_TABLES, silver_spec

__all__ = ["Rebuilt", "rebuild", "requested_days"]

_ATTEMPTS: Final = 5
_FEW_ROWS: Final = 1_000
"""Up to this many changed rows are replaced by their ids; beyond it, the whole partition is."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Rebuilt(NamedTuple):
    """The rebuild of one day of a table. ``rows`` is its number of rows by bronze, ``added`` are new or differ, ``removed`` differ or are wrong.

    ``version`` is that of the commit; ``None`` where nothing differed, and in a dry run.
    """

    table: str
    day: date
    rows: int
    added: int
    removed: int
    version: int | None

    @property
    def changed(self) -> bool:
        """Whether silver differed, or differs, from bronze."""
        return bool(self.added or self.removed)


def requested_days(first: date, last: date, *, tables: Sequence[str] | None = None) -> list[date]:
    """List the days from the first to the last, both included.

    Raises:
        PermanentError: the last day is before the first, or there is no such table.
    """
    if unknown := sorted(set(tables or ()) - set(silver_tables())):
        raise PermanentError(f"There is no silver table {unknown[0]!r}: choose among {', '.join(silver_tables())}.")
    if last < first:
        raise PermanentError(f"The last day {last} is before the first, {first}: swap them.")
    return days_between(first, last)


def rebuild(
    lake: Lake,
    days: Collection[date],
    *,
    tables: Sequence[str] | None = None,
    dry_run: bool = False,
    slice_bytes: int = 128 * 2**20,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Rebuilt]:
    """Rebuild days of silver tables; yields the result of each table and day.

    Args:
        lake: the lake.
        days: UTC days of receipt, which are silver's partitions.
        tables: silver tables; all by default.
        dry_run: report what would change, and commit nothing.
        slice_bytes: bytes of bodies to flatten at a time.
        progress: called with the number of messages flattened so far, of all days.

    Raises:
        PermanentError, TransientError: what is committed stays; a second call goes on with what still differs.
    """
    selected = silver_tables() if tables is None else tuple(tables)
    done = 0

    def count(messages: int) -> None:
        nonlocal done
        done += messages
        if progress is not None:
            progress(done)

    for day in sorted(set(days)):
        yield from _day(lake, day, selected, dry_run=dry_run, slice_bytes=slice_bytes, count=count)


def _day(
    lake: Lake, day: date, tables: Sequence[str], *, dry_run: bool, slice_bytes: int, count: Callable[[int], None]
) -> Iterator[Rebuilt]:
    """Rebuild one day. If messages of it arrive meanwhile, it is flattened again, and the rebuild goes on with the remaining tables."""
    remaining = [table for table in (*EVENT_TABLES, REJECTED_ITEMS) if table in tables]
    retried = Retried(read_set_aside(lake, [day]), ends=len(remaining) == len(silver_tables()))
    if retried.ends:
        remaining.append(SET_ASIDE)
    for attempt in range(_ATTEMPTS):
        with scratch_folder("rederive") as folder:
            staged = staged_day(lake, day, folder.path)
            for messages in staged.stage(lake, slice_bytes):
                count(messages)
            retried.fail(staged.keys(SET_ASIDE), f"received on {day}")
            try:
                for result in _make(lake, staged, remaining, retried, dry_run=dry_run):
                    remaining.remove(result.table)
                    yield result
            except OvertakenError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return


def _make(lake: Lake, day: StagedDay, tables: Sequence[str], retried: Retried, *, dry_run: bool) -> Iterator[Rebuilt]:
    selected = tuple(tables)
    rejects = day.keys(REJECTED_ITEMS)
    retried.found(REJECTED_ITEMS, rejects, rejects)
    for table in EVENT_TABLES:
        # Copies of an activity with another content become rejects, whichever tables are asked for.
        if table in selected or REJECTED_ITEMS in selected:
            result, conflicts = _make_table(lake, day, table, retried, dry_run=dry_run or table not in selected)
            day.add(REJECTED_ITEMS, _rejects(lake, day, conflicts, table), f"conflicts-{table}")
            if table in selected:
                yield result
    if REJECTED_ITEMS in selected:
        yield _make_table(lake, day, REJECTED_ITEMS, retried, dry_run=dry_run)[0]
    if SET_ASIDE in selected:
        rebuilt, _ = _make_table(lake, day, SET_ASIDE, retried, dry_run=dry_run)
        if rebuilt.rows or rebuilt.changed:
            yield rebuilt


@dataclass(frozen=True, slots=True)
class _Seen:
    """The state of a table's day when it was read: its data files, and the version of each source that the table has flattened."""

    files: Sequence[str]
    flattened: Mapping[str, int]

    @classmethod
    def read(cls, handle: DeltaTable | None, day: StagedDay) -> _Seen:
        if handle is None:  # a dry run makes no table: an empty one has no files, and has flattened what all have
            return cls((), {source.name: source.flattened for source in day.sources})
        flattened = {source.name: max(source.flattened, app_version(handle, source.app) or 0) for source in day.sources}
        return cls(partition_files(handle, day.day), flattened)

    def by_source(self, day: StagedDay) -> Iterator[tuple[Source, int]]:
        """Yield each source of the day, with the version of it that the table has flattened."""
        return ((source, self.flattened[source.name]) for source in day.sources)


def _make_table(lake: Lake, day: StagedDay, table: str, retried: Retried, *, dry_run: bool) -> tuple[Rebuilt, pl.DataFrame]:
    """Compare a table's day with what bronze gives, and commit the difference. Also returns the copies with another content."""
    what = f"silver/{table} of {day.day} in the lake {lake.uri}"
    with store_errors(what):
        handle = lake.open("silver", table)
        if handle is None and not day.has(table):
            return Rebuilt(table, day.day, 0, 0, 0, None), pl.DataFrame()
        if handle is None and not dry_run:
            handle = lake.ensure(silver_spec(table))
        seen = _Seen.read(handle, day)
        if any(version > source.handle.version() and source.has_grown(lake, day.day) for source, version in seen.by_source(day)):
            raise OvertakenError(f"{what} got rows of new messages during the rebuild: try again.")
        current = _current(lake, handle, seen.files, table)
        known = None if handle is None or table not in EVENT_TABLES else known_ids(lake, handle, write=not dry_run)
        elsewhere = partial(_elsewhere, known, seen.files, table)
        retried.refuse_to_lose(current, table, what)
        rows = retried.allowed(table, _flattened(day.keys(table), seen))
        kept, conflicts = _winners(table, rows, current, elsewhere)
        if table in EVENT_TABLES:
            retried.found(table, rows, kept, conflicts)
    on = [*keys_of(table), ROW]
    added = kept.join(current, on=on, how="anti", nulls_equal=True)
    removed = current.join(kept, on=on, how="anti", nulls_equal=True)
    result = Rebuilt(table, day.day, kept.height, added.height, removed.height, None)
    _refuse_without_bronze(lake, day, removed, what)
    if dry_run or not result.changed:
        return result, conflicts
    few = table in EVENT_TABLES and added.height + removed.height <= _FEW_ROWS
    predicate = _predicate(day.day, pl.concat([added["activity_id"], removed["activity_id"]]) if few else None)
    account = json.dumps({"day": day.day.isoformat(), "rows": kept.height, "added": added.height, "removed": removed.height})
    ledger = retried.ledger(kept["message_id"]).metadata() if table == SET_ASIDE else {}

    def decide(opened: DeltaTable) -> AlreadyCommitted[DeltaTable] | Replace[DeltaTable]:
        if _Seen.read(opened, day) != seen:
            if next(commits_of(opened)).get(REDERIVED) == account:
                return AlreadyCommitted(opened)  # the answer was lost
            raise OvertakenError(f"{what} was written to during the rebuild: try again.")
        return Replace(
            rows=lambda: day.rows(table, added if few else kept),
            predicate=predicate,
            new_schema=False,
            transactions=(),
            result=opened,
            metadata={REDERIVED: account, **ledger},
            others_may_commit=True,
        )

    committed = commit_once(what, lambda: lake.ensure(silver_spec(table)), decide)
    if handle is not None and known is not None:
        _look_again(handle, committed, added["activity_id"], what)
    return result._replace(version=committed.version()), conflicts


def _look_again(read: DeltaTable, committed: DeltaTable, added: pl.Series, what: str) -> None:
    """See to it that no other commit added an activity that this one did, between the version that was read and the one that was committed.

    Raises:
        OvertakenError: one did. The day is read again, and its row gives way.
    """
    first, last = read.version() + 1, committed.version() - 1
    if added.is_empty() or first > last:
        return
    with store_errors(what):
        stream = committed.load_cdf(first, last, columns=["activity_id"], allow_out_of_range=True)
        others = pl.DataFrame(stream.read_all())
    if others["activity_id"].is_in(added.implode()).any():
        raise OvertakenError(f"{what} got rows of the same activities during the rebuild: try again.")


def _refuse_without_bronze(lake: Lake, day: StagedDay, removed: pl.DataFrame, what: str) -> None:
    """Refuse to remove rows whose messages bronze has lost: nothing could bring them back.

    Raises:
        PermanentError: there are such rows.
    """
    if removed.is_empty():
        return
    in_bronze = pl.concat(
        [
            pl.LazyFrame(schema={"message_id": pl.String}),
            *(
                lake.scan(files, source.handle).select("message_id")
                for source in day.sources
                if (files := partition_files(source.handle, day.day))
            ),
        ]
    )
    lost = removed.lazy().select("message_id").unique().join(in_bronze, on="message_id", how="anti").collect().height
    if lost:
        raise PermanentError(
            f"{what} has rows of {lost:,} messages that bronze lacks. A rebuild would remove them for good: nothing was changed. "
            "Bronze is damaged: see what it lacks with `mg-lakehouse repair bronze`, and rebuild the day when it is whole."
        )


def _predicate(day: date, ids: pl.Series | None) -> str:
    """Return a delta-rs predicate for a day's rows, or for those with some activity ids."""
    partition = f"received_date = {text(day.isoformat())}"
    if ids is None:
        return partition
    return f"{partition} AND activity_id IN ({', '.join(map(text, ids.unique().sort()))})"


def _current(lake: Lake, handle: DeltaTable | None, files: Sequence[str], table: str) -> pl.DataFrame:
    """Read keys and fingerprints of the table's rows of the day."""
    schema = silver_schema(table)
    rows = lake.scan(files, handle) if handle is not None and files else pl.LazyFrame(schema=schema)
    keys = keys_of(table)
    return with_fingerprints(rows, table).select(*keys, ROW).cast({name: schema[name] for name in keys}).collect(engine="streaming")


def _flattened(rows: pl.DataFrame, seen: _Seen) -> pl.DataFrame:
    """Keep the rows whose messages the table has flattened; live ingestion brings the others."""
    flattened = ((pl.col("source") == source) & (pl.col(BRONZE_VERSION) <= version) for source, version in seen.flattened.items())
    return rows.filter(pl.any_horizontal(pl.lit(value=False), *flattened))


def _winners(
    table: str, rows: pl.DataFrame, current: pl.DataFrame, elsewhere: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return keys and fingerprints of the rows that the table should have of the day, and the copies with another content."""
    if table not in EVENT_TABLES:
        return rows, rows.clear()
    # The rows that silver has win: they are put first, whenever they were received.
    standing = rows.join(current, on=keys_of(table), how="semi")
    others = rows.join(standing, on=keys_of(table), how="anti")
    against = against_existing(pl.concat([standing.with_columns(received_at=pl.lit(_EPOCH)), others]), elsewhere(rows))
    among = first_received(against.kept)
    return among.kept, pl.concat([against.conflicts, among.conflicts])


def _elsewhere(known: KnownIds | None, of_day: Sequence[str], table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Read rows of other days with an activity id of these. A row written with an older catalogue comes twice, the second time as this one reads it."""
    columns = ["activity_id", "event_at", CONTENT, "source", "message_id", "item_index"]
    others = None if known is None else known.rows(rows["activity_id"], but=frozenset(of_day))
    if others is None:
        return rows.select(columns).clear()
    older = with_all_columns(others.filter(may_be_older()), table).collect()
    readings = [others, reread(older, table).lazy()]
    return pl.concat(with_fingerprints(reading, table).select(columns).collect().cast(rows.select(columns).schema) for reading in readings)


def _rejects(lake: Lake, day: StagedDay, conflicts: pl.DataFrame, table: str) -> pl.DataFrame:
    """Turn copies with another content into rows of ``rejected_items``, with their text from bronze."""
    if conflicts.is_empty():
        return pl.DataFrame()
    ids = conflicts["message_id"].unique().implode()
    scans = [
        lake.scan(files, source.handle).filter(pl.col("message_id").is_in(ids)).select("message_id", "body", "received_at")
        for source in day.sources
        if (files := partition_files(source.handle, day.day))
    ]
    messages = pl.concat(scans).collect()
    received = messages.select("message_id", "received_at")
    whole = conflicts.drop("received_at").join(received, on="message_id").with_columns(received_date=pl.lit(day.day))
    schema = pl.Schema({**silver_schema(REJECTED_ITEMS), BRONZE_VERSION: pl.Int64()})
    return as_rejected(whole, table, messages).select(schema.names()).cast(schema)
