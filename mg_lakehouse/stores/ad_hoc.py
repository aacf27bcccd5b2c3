"""Ad hoc SQL over the lake: queries and nothing else, of the lake's tables and nothing else.

Two fences, each enough by itself for most: only statements that ask are run, and DuckDB may open no file outside of the lake's three layers, load
nothing, and change no setting. Credentials are in a secret of the process that no query can read.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores import duck
from mg_lakehouse.stores.catalog import Shown, attachments, build_catalog, catalog_file, shown_tables
from mg_lakehouse.stores.duck import text_list
from mg_lakehouse.stores.lake import Lake

__all__ = ["AdHoc", "QueryError", "ad_hoc"]

_ASKING: Final = frozenset(
    {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.SET, duckdb.StatementType.CREATE}
)
"""``set`` is for variables, ``create`` for temporary tables: settings are locked and the catalogue is read-only. A ``pivot`` creates too."""

_WITH_ROWS: Final = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})

_EXPLAIN: Final = re.compile(r"^\s*explain(\s+analyze|\s+verbose)?(\s*\([^)]*\))?", re.IGNORECASE)
_SETTABLE: Final = re.compile(r"^\s*set\s+variable\b", re.IGNORECASE)
_BATCH_ROWS: Final = 10_000


class QueryError(PermanentError):
    """A statement is refused, or DuckDB says what is wrong with it and where."""


class AdHoc:
    """A connection for queries."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, sql: str) -> pa.RecordBatchReader:
        """Run statements, and give the rows of the last one, batch by batch.

        Raises:
            QueryError: a statement does something else than to ask, or is wrong; or the last one has no rows.
        """
        try:
            statements = self._connection.extract_statements(sql)
            for statement in statements:
                _require_asking(statement)
                self._connection.execute(statement)
        except duckdb.Error as error:
            raise QueryError(_said(error)) from None
        if not statements or statements[-1].type not in _WITH_ROWS:
            raise QueryError("The statement has no rows.")
        return self._connection.to_arrow_reader(_BATCH_ROWS)

    def show(self, sql: str, *, max_width: int, max_rows: int) -> None:
        """Run statements and print the first rows of the last one as a table no wider than that.

        Raises:
            QueryError: as for :meth:`rows`.
        """
        rows = self.rows(sql)
        try:
            first, more = _first(rows, max_rows)
            self._connection.from_arrow(first).show(max_width=max_width, max_rows=max_rows)
        except duckdb.Error as error:
            raise QueryError(_said(error)) from None
        if more:
            print(f"These are the first {max_rows} rows: --format csv or --output writes all.")  # noqa: T201  it belongs to the table

    def names(self) -> list[str]:
        """Views, their columns, and macros, for completion."""
        tables = "select schema_name || '.' || view_name from duckdb_views() where not internal"
        columns = "select distinct column_name from duckdb_columns() where not internal"
        macros = "select distinct function_name from duckdb_functions() where not internal and function_type like '%macro%'"
        return [name for (name,) in self._connection.execute(f"{tables} union all {columns} union all {macros} order by 1").fetchall()]

    def interrupt(self) -> None:
        """Stop the statement that is running."""
        self._connection.interrupt()


@contextmanager
def ad_hoc(lake: Lake, settings: Settings) -> Iterator[AdHoc]:
    """Open the catalogue for queries; where there is none, or tables came since it was made, one is made for as long as this lasts.

    Raises:
        PermanentError, TransientError: the lake or the catalogue cannot be read.
    """
    tables = shown_tables(lake, settings)
    file = catalog_file(settings)
    with tempfile.TemporaryDirectory(prefix="mg-lakehouse-catalog-") as folder, ExitStack() as stack:
        connection = None if file is None or not file.exists() else stack.enter_context(_opened(lake, file))
        if connection is None or not _shows(connection, tables):
            stack.close()
            made = Path(folder, "catalog.duckdb")
            build_catalog(lake, settings, made)
            connection = stack.enter_context(_opened(lake, made))
        _fence(connection, lake, tables)
        yield AdHoc(connection)


def _opened(lake: Lake, file: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duck.connect(lake, str(file), read_only=True)
    except duckdb.Error as error:
        raise PermanentError(
            f"The catalogue {file} cannot be opened ({type(error).__name__}): make it anew with `mg-lakehouse catalog`."
        ) from error


def _shows(connection: duckdb.DuckDBPyConnection, tables: Sequence[Shown]) -> bool:
    """Whether the views of a catalogue are those of the tables that there are: one that was made before a table came shows it empty."""
    views = connection.execute(
        "select schema_name, view_name from duckdb_views() where not internal and contains(sql, 'delta_scan')"
    ).fetchall()
    return set(views) == {(table.layer, table.name) for table in tables if table.handle is not None}


def _fence(connection: duckdb.DuckDBPyConnection, lake: Lake, tables: Sequence[Shown]) -> None:
    for attach in attachments(tables):
        connection.execute(attach)
    layers = [f"{lake.root}/{layer}/" for layer in ("bronze", "silver", "gold")]
    connection.execute(f"set allowed_directories = {text_list([*layers, f'{duck.private_folder()}/'])}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _first(rows: pa.RecordBatchReader, count: int) -> tuple[pa.Table, bool]:
    """The first rows, and whether there are more."""
    batches: list[pa.RecordBatch] = []
    found = 0
    for batch in rows:
        batches.append(batch)
        found += batch.num_rows
        if found > count:
            break
    return pa.Table.from_batches(batches, rows.schema).slice(0, count), found > count


def _require_asking(statement: duckdb.Statement) -> None:
    explained = _EXPLAIN.sub("", statement.query) if statement.type == duckdb.StatementType.EXPLAIN else None
    if explained is not None:
        for inner in duckdb.extract_statements(explained):
            _require_asking(inner)
    elif statement.type not in _ASKING or (statement.type == duckdb.StatementType.SET and not _SETTABLE.match(statement.query)):
        kind = statement.type.name.replace("_", " ")
        raise QueryError(
            f"{kind} is refused: here the lake is only asked. Use --output to write rows to a file, or a DuckDB of your own with views.sql."
        )


def _said(error: duckdb.Error) -> str:
    """What DuckDB says, with the line and place; what it advises to switch on cannot be switched on here."""
    said = str(error).strip()
    if "disabled by configuration" in said or "disabled through configuration" in said:
        return f"{said.splitlines()[0].split(' - ')[0]}: only the tables of the lake can be read here."
    return said
