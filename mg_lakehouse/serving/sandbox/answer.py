"""The catalogue opened for queries, inside of the process that runs them: nothing but the lake is read, and no statement runs that names more.

The first wall is what statements may name (:mod:`mg_lakehouse.serving.sandbox.check`). The second is what the process can do: see
:mod:`mg_lakehouse.serving.sandbox.process` for the kernel's part; DuckDB's is here: it opens no file outside of the lake's three layers, loads nothing,
and its settings are locked.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import duckdb
import pyarrow as pa

from mg_lakehouse.errors import PermanentError, QueryError
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.duck import text, text_list
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.sandbox.check import Names, require_allowed
from mg_lakehouse.serving.sandbox.parse import statements
from mg_lakehouse.serving.views import Shown, attachments, tables_of, write_catalog

__all__ = ["Asking", "fence", "names_of", "opened", "said"]

_BATCH_ROWS: Final = 10_000
_ELSEWHERE: Final = ("s3://", "s3a://", "s3n://")


class Asking:
    """A connection for queries, and what can be named in them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def rows(self, sql: str) -> pa.RecordBatchReader:
        """Run statements, and give the rows of the last one, batch by batch.

        Raises:
            QueryError: a statement does something else than to ask, or is wrong; or the last one has no rows.
        """
        last = None
        for last in statements(sql, self._serialize):
            require_allowed(last, self._names)
            self._run(last.text)
            if last.created is not None:
                self._names.add(last.created)
        if last is None or not last.has_rows:
            raise QueryError("The statement has no rows.")
        with said():
            return self._connection.to_arrow_reader(_BATCH_ROWS)

    def shown(self, sql: str, *, max_width: int, max_rows: int) -> tuple[str, bool]:
        """Run statements: the first rows of the last one as a table no wider than that, and whether there are more."""
        rows = self.rows(sql)
        printed = io.StringIO()
        with said():
            first, more = _first(rows, max_rows)
            with redirect_stdout(printed):
                self._connection.from_arrow(first).show(max_width=max_width, max_rows=max_rows)
        return printed.getvalue(), more

    def names(self) -> list[str]:
        """Views, their columns, and macros, for completion."""
        tables = "select schema_name || '.' || view_name from duckdb_views() where not internal"
        columns = "select distinct column_name from duckdb_columns() where not internal"
        macros = "select distinct function_name from duckdb_functions() where not internal and function_type like '%macro%'"
        with said():
            return [name for (name,) in self._connection.execute(f"{tables} union all {columns} union all {macros} order by 1").fetchall()]

    def interrupt(self) -> None:
        """Stop the statement that is running. Another thread may call it."""
        self._connection.interrupt()

    def _run(self, text: str) -> None:
        """Run one statement. A pivot becomes several, at times in a transaction of its own, which must not stay open when one of them fails."""
        with said():
            try:
                for part in self._connection.extract_statements(text):
                    self._connection.execute(part)
            except duckdb.Error:
                with suppress(duckdb.TransactionException):
                    self._connection.rollback()
                raise

    def _serialize(self, sql: str) -> str:
        # All of it: a result that is open is a transaction, and in one DuckDB makes of a pivot something that sets a setting.
        return str(self._connection.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0])


@contextmanager
def opened(lake: Lake, gold_names: Sequence[str], catalog: Path | None, folder: Path) -> Iterator[Asking]:
    """Open the catalogue for queries; where there is none, or tables came since it was made, one is made in the folder.

    Raises:
        PermanentError, TransientError: the lake or the catalogue cannot be read.
    """
    tables = tables_of(lake, gold_names)
    connection = None if catalog is None else _connected(lake, catalog)
    if connection is None or not _shows(connection, tables):
        if connection is not None:
            connection.close()
        made = folder / "new" / "catalog.duckdb"
        write_catalog(lake, tables, made)
        connection = _connected(lake, made)
    with connection:
        names = names_of(connection, tables)
        for attach in attachments(tables):
            connection.execute(attach)
        fence(connection, lake, folder)
        yield Asking(connection, names)


def _connected(lake: Lake, file: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duck.connect(lake, str(file), read_only=True)
    except duckdb.Error as error:
        raise PermanentError(
            f"The catalogue of the lake {lake.root} cannot be opened ({type(error).__name__}): make it anew with `mg-lakehouse catalog`."
        ) from error


def _shows(connection: duckdb.DuckDBPyConnection, tables: Sequence[Shown]) -> bool:
    """Whether the views of a catalogue are those of the tables that there are: one that was made before a table came shows it empty."""
    views = connection.execute(
        "select schema_name, view_name from duckdb_views() where not internal and contains(sql, 'delta_scan')"
    ).fetchall()
    return set(views) == {(table.layer, table.name) for table in tables if table.handle is not None}


def names_of(connection: duckdb.DuckDBPyConnection, tables: Sequence[Shown]) -> Names:
    """What of a catalogue can be named. To be asked before the tables are attached, which are then read by whoever asks for all names."""
    (database,) = connection.execute("select current_database()").fetchone() or ("",)

    def is_function(name: str) -> bool:
        asked = "select count(*) from duckdb_functions() where internal and lower(function_name) = ?"
        return connection.execute(asked, [name]).fetchone() != (0,)

    return Names(
        database=str(database).lower(),
        views=frozenset((table.layer, table.name) for table in tables),
        attached=frozenset(f"{table.layer}_{table.name}" for table in tables if table.handle is not None),
        is_function=is_function,
    )


def fence(connection: duckdb.DuckDBPyConnection, lake: Lake, folder: Path) -> None:
    """Have DuckDB open nothing but the lake and a folder, use no secret but the lake's, and change no setting from here on."""
    if not lake.is_local:
        for address in _ELSEWHERE:
            # Without a secret the Delta extension asks the machine's metadata service for a role. This one leads nowhere: a port that nobody has.
            connection.execute(
                f"create secret {duck.identifier(f'nowhere_{address[:3]}')} (type s3, scope {text(address)}, key_id 'none', secret 'none', "
                "region 'us-east-1', endpoint '127.0.0.1:1', use_ssl false, url_style 'path')"
            )
        _hide_proxy(connection)
    layers = [f"{lake.root}/{layer}/" for layer in ("bronze", "silver", "gold")]
    connection.execute(f"set allowed_directories = {text_list([*layers, f'{folder}/'])}")
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set lock_configuration = true")


def _hide_proxy(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep a proxy's password out of the settings, which show it: httpfs puts there what ``HTTP_PROXY`` says."""
    (address,) = connection.execute("select current_setting('http_proxy')").fetchone() or ("",)
    proxy = urlsplit(str(address or ""))
    if proxy.username is None and proxy.password is None:
        return
    known = {"http_proxy": f"{proxy.hostname}:{proxy.port or 80}"}
    known |= {"http_proxy_username": unquote(proxy.username or ""), "http_proxy_password": unquote(proxy.password or "")}
    connection.execute(f"create secret proxy (type http, {', '.join(f'{name} {text(value)}' for name, value in known.items())})")
    connection.execute("set global http_proxy = ''")


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


@contextmanager
def said() -> Iterator[None]:
    """Have what DuckDB says within the block as an error of ours, with the line and place.

    Raises:
        QueryError: DuckDB raised. What it advises to switch on cannot be switched on here.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow raises the last where a stream of DuckDB fails
        text = str(error).strip()
        if "disabled by configuration" in text or "disabled through configuration" in text:
            text = f"{text.splitlines()[0].split(' - ')[0]}: only the tables of the lake can be read here."
        raise QueryError(text) from None
