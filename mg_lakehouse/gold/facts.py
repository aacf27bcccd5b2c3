"""What a build knows of the lake: the tables of silver at one version, those of gold as it met them and as it leaves them, and where the rows of some keys lie.

Each table is opened once. What the build itself made a moment ago is read from DuckDB as long as it is kept there, and else from the table's files:
those that can hold rows of the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
from deltalake import DeltaTable

from mg_lakehouse._util.side_by_side import side_by_side
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.changes import SilverTables
from mg_lakehouse.gold.clustered import ClusteredRows
from mg_lakehouse.gold.commit import GoldTable
from mg_lakehouse.gold.job_days import DAYS_OF_JOBS, DAYS_OF_MESSAGES, DaysOfJobs, known_days
from mg_lakehouse.gold.job_files import File, Files, JobDays, read_files, rows_of
from mg_lakehouse.gold.keys import job_days_of
from mg_lakehouse.gold.model import Keys, Model
from mg_lakehouse.lake.commit_log import commits_of
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.snapshot import empty_scan, scan
from mg_lakehouse.location import address_of

__all__ = ["Facts", "Table", "date_of"]

_OF_NO_MESSAGE: Final = frozenset(event.table for event in EVENTS if event.channel is None)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a model reads by keys. ``day`` is its column that says which UTC day a row is of, a date or a time, where it has one."""

    name: str
    is_silver: bool
    handle: DeltaTable
    files: Files
    day: str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Rows that this build made of a gold table, in DuckDB: those of some keys, or of all (``None``)."""

    source: str
    keys: Keys | None


class Facts:
    """What one build knows. Not safe to use from several threads at once.

    ``chunk_rows`` are the rows of a model's inputs that it is built from at a time, and those that are kept in DuckDB for the models that follow.
    ``definitions`` are those of the build's gold tables, ``folder`` is where copies of rows are put.
    """

    def __init__(
        self,
        lake: Lake,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        *,
        chunk_rows: int,
        folder: Path,
        definitions: Mapping[str, int],
    ) -> None:
        self.silver = SilverTables(lake, cursor)
        self._lake = lake
        self._cursor = cursor
        self._definitions = definitions
        self._clustered = ClusteredRows(cursor, run_rows=max(1, chunk_rows // 4), folder=folder)
        self._room = chunk_rows
        self._gold: dict[str, DeltaTable] = {}
        self._made: dict[str, GoldTable] = {}
        self._kept: dict[str, _Kept] = {}
        self._tables: dict[tuple[str, int], Table] = {}
        self._sources: dict[tuple[str, int], str] = {}
        self._gold_ids: dict[str, str | None] = {}
        self._are_of_messages: set[str] = set()
        self._tables_of_days: dict[str, tuple[GoldTable, Files] | None] = {}
        self._job_days: dict[tuple[str, object], JobDays | None] = {}

    @property
    def table_ids(self) -> dict[str, str | None]:
        """Id of every table that a model can include: of silver, ``None`` for those that do not exist, and of gold for models of changes."""
        return self.silver.ids | self._gold_ids

    def note_ids(self, ids: Mapping[str, str | None]) -> None:
        """Note ids of gold tables, by the names that they have in accounts."""
        self._gold_ids |= ids

    def note_model(self, model: Model) -> None:
        """Note whether all rows of a model are of messages."""
        gold_inputs = {each.name for each in model.gold}
        if not _OF_NO_MESSAGE.intersection(model.silver) and gold_inputs <= self._are_of_messages:
            self._are_of_messages.add(model.name)

    def open_gold(self, names: Sequence[str]) -> None:
        """Open the gold tables that exist, and read what each says of its newest commit: one by one, that was a second and a half at 50 ms an answer."""
        self._gold |= {name: handle for name, handle in self._lake.open_all("gold", names).items() if handle is not None}
        side_by_side(lambda handle: next(commits_of(handle), None), self._gold.values())
        side_by_side(self.look_at, self._gold.values())
        if not self._lake.is_local:
            self._read_changes()

    def look_at(self, handle: DeltaTable) -> None:
        """Have DuckDB read what it must know of a table in a store before it reads rows. It keeps it, and whoever shows the table later waits for nothing."""
        if not self._lake.is_local:
            self._cursor().execute(f"from {self.source(handle)} limit 0")

    def _read_changes(self) -> None:
        """Read what changed in silver since gold's newest commits, which most tables have in common, side by side: one by one, each is half a second at 50 ms an answer."""
        ids = self.silver.ids
        # Not by `made`, which keeps what it finds: what a table includes of gold is told when its models' ids are noted.
        since = [gold.watermarks_of(handle, ids, list(ids)).silver for handle in self._gold.values()]
        before = {(name, included) for silver in since for name, included in silver.items() if name in ids}
        now = self.silver.included(sorted({name for name, _ in before}))
        side_by_side(lambda each: self.silver.changes(*each, now[each[0]]), before)

    def gold_handle(self, name: str) -> DeltaTable | None:
        """A gold table as this build met it or left it, ``None`` where it does not exist."""
        if name not in self._gold and (handle := self._lake.open("gold", name)) is not None:
            self._gold[name] = handle
        return self._gold.get(name)

    def made(self, name: str) -> GoldTable | None:
        """A gold table and what it was made of, ``None`` where it does not exist."""
        if name not in self._made and (handle := self.gold_handle(name)) is not None:
            self._made[name] = gold.watermarks_of(handle, self.table_ids, list(self.table_ids))
        return self._made.get(name)

    def needed(self, name: str, model: str) -> GoldTable:
        """A gold table that a model cannot do without.

        Raises:
            PermanentError: it was never built.
        """
        if (made := self.made(name)) is None:
            raise PermanentError(f"gold/{model} needs gold/{name}, which was never built: build {name} first.")
        return made

    def was_read(self, name: str) -> GoldTable | None:
        """What :meth:`made` said of a table, if it was asked."""
        return self._made.get(name)

    def move_on(self, name: str, made: GoldTable) -> None:
        """Note what this build committed to a gold table."""
        self._gold[name] = made.handle
        self._made[name] = made

    def keep(self, name: str, source: str, rows: int, keys: Keys | None) -> bool:
        """Keep rows that were made for the models that follow, where there is room. Returns whether they are kept."""
        if rows > self._room:
            return False
        self._room -= rows
        self._kept[name] = _Kept(source, keys)
        return True

    def source(self, handle: DeltaTable) -> str:
        """SQL of all rows of a table, as a source of a ``from``."""
        version = (address_of(handle.table_uri), handle.version())
        if version not in self._sources:
            self._sources[version] = scan(handle)
        return self._sources[version]

    def silver_table(self, name: str) -> Table | None:
        """A silver table, ``None`` where it does not exist."""
        handle = self.silver.handle(name)
        return None if handle is None else self._table(name, handle, time="event_at", day="event_date", is_silver=True)

    def gold_table(self, name: str, handle: DeltaTable, day: str | None) -> Table:
        """A gold table at the version of a handle."""
        return self._table(name, handle, time=day, day=day, is_silver=False)

    def whole(self, table: Table) -> str:
        """SQL of all rows of a table, as a source of a ``from``."""
        kept = self._kept_of(table)
        return kept.source if kept is not None and kept.keys is None else self.source(table.handle)

    def rows(self, table: Table, keys: Keys | None) -> str:
        """SQL of the rows of a table that some keys have, all where they are ``None``, as a source of a ``from``."""
        if keys is None:
            return self.whole(table)
        kept = self._kept_of(table)
        if kept is not None and kept.keys is not None and keys.change is not None and kept.keys.change == keys.change:
            return kept.source if keys.days else f"(from {kept.source} where request_id is not null)"
        return self.committed_rows(table, keys)

    def committed_rows(self, table: Table, keys: Keys) -> str:
        """SQL of the rows of some keys in the files of a table, as a source of a ``from``."""
        arms = []
        if files := self._of_jobs(table, keys):
            source = read_files(files)
            if keys.chunks:
                source = self._of_chunk(table, keys, files)
            arms.append(f"select * from {source} where request_id in (select request_id from {keys.requests_table})")
        if files := self._of_days(table, keys):
            day = date_of(table.day)
            arms.append(
                f"select * from {read_files(files)} where request_id is null and {day} in (select event_date from {keys.days_table})"
            )
        return f"({' union all by name '.join(arms or [empty_scan(table.handle)])})"

    def at_most(self, table: Table, keys: Keys | None) -> float:
        """How many rows lie in the files that are looked at; infinite where one does not say."""
        files = table.files.all() if keys is None else {*self._of_jobs(table, keys), *self._of_days(table, keys)}
        return rows_of(files)

    def count_chunk_days(self, keys: Keys, counted: Mapping[str, str]) -> None:
        """Note the days of the jobs of a chunk, by table, from the tables of how many rows each key has."""
        cursor = self._cursor()
        for name, table in counted.items():
            self._job_days[name, keys] = job_days_of(cursor, f"select request_id, day from {table}", keys.requests_table)

    def _table(self, name: str, handle: DeltaTable, *, time: str | None, day: str | None, is_silver: bool) -> Table:
        version = (address_of(handle.table_uri), handle.version())
        if version not in self._tables:
            self._tables[version] = Table(name, is_silver, handle, Files(handle, time), day)
        return self._tables[version]

    def _kept_of(self, table: Table) -> _Kept | None:
        return None if table.is_silver else self._kept.get(table.name)

    def _of_jobs(self, table: Table, keys: Keys) -> list[File]:
        """The files that can hold rows of the jobs."""
        return table.files.holding(keys.requests, self._days_of(table, keys)) if keys.requests else []

    def _of_days(self, table: Table, keys: Keys) -> list[File]:
        """The files that can hold what belongs to no job on the days."""
        return table.files.with_orphans(keys.days) if keys.days and table.day is not None else []

    def _of_chunk(self, table: Table, keys: Keys, files: Sequence[File]) -> str:
        """SQL of files that can hold rows of a chunk, or of the copy that is sorted by chunk, if there is one."""
        version = (address_of(table.handle.table_uri), table.handle.version())
        return self._clustered.of(
            version, table.files.all(), files, parts=keys.chunks, cut=f"{keys.schema}.cut", requests=keys.requests_table
        )

    def _days_of(self, table: Table, keys: Keys) -> JobDays | None:
        """All days on which jobs have rows in a table, where they are known."""
        if keys.chunks:
            return self._job_days.get((table.name, keys))
        if table.day is None:
            return None
        is_of_messages = table.name not in _OF_NO_MESSAGE if table.is_silver else table.name in self._are_of_messages
        known = DAYS_OF_MESSAGES if is_of_messages else DAYS_OF_JOBS
        place = (known.name, keys if keys.change is None else keys.change)
        if place not in self._job_days:
            self._job_days[place] = self._known_days(known, keys)
        return self._job_days[place]

    def _known_days(self, known: DaysOfJobs, keys: Keys) -> JobDays | None:
        """The days of some jobs.

        The table is taken as the build met it. As this build leaves it, a fault of its commit would hide the rows of its jobs from every model
        after it, and so from the tests that would have found them missing.
        """
        if known.name not in self._tables_of_days:
            made = self.made(known.name) if known.name in self._gold else None
            is_known = made is not None and made.definition == self._definitions.get(known.name)
            self._tables_of_days[known.name] = (made, Files(made.handle, None)) if made is not None and is_known else None
        if (table := self._tables_of_days[known.name]) is None:
            return None
        return known_days(known, *table, self.silver, self._cursor, requests=keys.requests, table=keys.requests_table)


def date_of(column: str | None) -> str | None:
    """SQL of the UTC date of a column that is a date or a time."""
    return column if column is None or column.endswith("_date") else f"cast({column} as date)"
