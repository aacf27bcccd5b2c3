"""Opens the lake and runs queries, inside the sandboxed process. Statements can name and read nothing but the lake.

The first wall is what statements may name (:mod:`mg_lakehouse.serving.sandbox.check`). The second is what the process can do. For the kernel's
part see :mod:`mg_lakehouse.serving.sandbox.process`. DuckDB's part is here: it opens no file outside the lake's three layers, loads nothing, and
its settings are locked.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import duckdb
import pyarrow as pa

from mg_lakehouse.errors import QueryError
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import identifier, text, text_list
from mg_lakehouse.location import Layer
from mg_lakehouse.serving.queries import query
from mg_lakehouse.serving.sandbox.check import Names, looks_around, require_allowed, tables_named
from mg_lakehouse.serving.sandbox.parse import statements
from mg_lakehouse.serving.views import MACROS, MACROS_READ, Shown, attachment, frame, is_always_shown, names_shown, shown_of, view

__all__ = ["Asking", "fence", "opened", "prepared", "query_errors"]

_CATALOG: Final = "catalog"
"""The database of the views, as the file of the same name has them."""

_READ_BY_MACROS: Final[frozenset[tuple[Layer, str]]] = frozenset(("gold", name) for name in MACROS_READ)
_BATCH_ROWS: Final = 10_000
_ELSEWHERE: Final = ("s3://", "s3a://", "s3n://")


class Asking:
    """A connection for queries, and the names that they may use."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._names = names_of(connection, tables)

    def rows(self, sql: str) -> pa.RecordBatchReader:
        """Run statements, and return the rows of the last one, batch by batch.

        Raises:
            QueryError: a statement is not a query, or is invalid; or the last one has no rows.
        """
        last = None
        for last in statements(sql, self._serialize):
            require_allowed(last, self._names)
            self._tables.show(self._tables.known if looks_around(last) else tables_named(last, dict.fromkeys(MACROS, _READ_BY_MACROS)))
            self._run(last.text)
            if last.created is not None:
                self._names.add(last.created)
        if last is None or not last.has_rows:
            raise QueryError("The statement has no rows.")
        with query_errors():
            return self._connection.to_arrow_reader(_BATCH_ROWS)

    def shown(self, sql: str, *, max_width: int, max_rows: int) -> tuple[str, bool]:
        """Run statements. Return the first rows of the last one as a table, ``max_width`` characters wide at most, and whether there are more."""
        rows = self.rows(sql)
        printed = io.StringIO()
        with query_errors():
            first, more = _first(rows, max_rows)
            with redirect_stdout(printed):
                self._connection.from_arrow(first).show(max_width=max_width, max_rows=max_rows)
        return printed.getvalue(), more

    def names(self) -> list[str]:
        """Return the names of views, columns and macros, for completion."""
        tables = "select schema_name || '.' || view_name from duckdb_views() where not internal"
        columns = "select distinct column_name from duckdb_columns() where not internal"
        macros = "select distinct function_name from duckdb_functions() where not internal and function_type like '%macro%'"
        self._tables.show(self._tables.known)
        with query_errors():
            return [name for (name,) in self._connection.execute(f"{tables} union all {columns} union all {macros} order by 1").fetchall()]

    def interrupt(self) -> None:
        """Stop the running statement. Another thread may call this."""
        self._connection.interrupt()

    def _run(self, text: str) -> None:
        """Run one statement. A pivot becomes several, sometimes in a transaction, which must not stay open if one of them fails."""
        with query_errors():
            try:
                for statement in self._connection.extract_statements(text):
                    self._connection.execute(statement)
            except duckdb.Error:
                with suppress(duckdb.TransactionException):
                    self._connection.rollback()
                raise

    def _serialize(self, sql: str) -> str:
        # Fetch all rows: an open result is a transaction, and inside one DuckDB turns a pivot into statements that change a setting.
        return str(self._connection.execute("select json_serialize_sql(?)", [sql]).fetchall()[0][0])


class Tables:
    """The lake's tables. The view of each is made when a statement first needs it, for opening all of them takes a lake on S3 seconds."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake, gold_names: Sequence[str]) -> None:
        self._connection = connection
        self._lake = lake
        written = {layer: lake.written(layer) for layer in names_shown(gold_names)}
        named = [(layer, name) for layer, names in names_shown(gold_names).items() for name in names]
        self.written: Final = frozenset((layer, name) for layer, name in named if name in written[layer])
        self.known: Final = frozenset(each for each in named if each in self.written or is_always_shown(*each))
        self._shown: set[tuple[Layer, str]] = set()
        for statement in frame():
            connection.execute(statement)

    def show(self, wanted: Iterable[tuple[Layer, str]]) -> None:
        """Make the views of those tables that have none yet, and the macros with what they read. Names of other tables are ignored.

        Raises:
            PermanentError, TransientError: one of these tables cannot be read.
        """
        new = (self.known & set(wanted)) - self._shown
        tables: list[Shown] = []
        for layer in {layer for layer, _ in new}:
            names = [name for of_layer, name in new if of_layer == layer]
            opened = self._lake.open_all(layer, [name for name in names if (layer, name) in self.written])
            tables += shown_of(self._lake, layer, names, {name: handle for name, handle in opened.items() if handle is not None})
        ddl = [statement for table in tables for statement in view(table)]
        self._shown |= new
        if self._shown >= _READ_BY_MACROS and not _READ_BY_MACROS.isdisjoint(new):
            ddl += [query(f"macros/{name}") for name in MACROS]
        with query_errors():
            for statement in ddl:
                self._connection.execute(statement)


@contextmanager
def opened(lake: Lake, gold_names: Sequence[str], folder: Path) -> Iterator[Asking]:
    """Open the lake for queries, with these tables of gold as far as they exist.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    with duck.connect(lake) as connection:
        asking = prepared(connection, lake, gold_names)
        fence(connection, lake, folder)
        yield asking


def prepared(connection: duckdb.DuckDBPyConnection, lake: Lake, gold_names: Sequence[str]) -> Asking:
    """Prepare a connection for queries of the lake."""
    connection.execute(f"attach ':memory:' as {_CATALOG}")
    connection.execute(f"use {_CATALOG}")
    tables = Tables(connection, lake, gold_names)
    asking = Asking(connection, tables)
    for layer, name in sorted(tables.written):
        connection.execute(attachment(lake, layer, name))
    return asking


def names_of(connection: duckdb.DuckDBPyConnection, tables: Tables) -> Names:
    """Return the names that statements may use."""

    def is_function(name: str) -> bool:
        query = "select count(*) from duckdb_functions() where internal and lower(function_name) = ?"
        return connection.execute(query, [name]).fetchone() != (0,)

    return Names(
        database=_CATALOG,
        views=frozenset((str(layer), name) for layer, name in tables.known),
        attached=frozenset(f"{layer}_{name}" for layer, name in tables.written),
        is_function=is_function,
    )


def fence(connection: duckdb.DuckDBPyConnection, lake: Lake, folder: Path) -> None:
    """Restrict DuckDB: it opens only the lake and a folder, uses only the lake's secret, and changes no setting from here on."""
    if not lake.is_local:
        for address in _ELSEWHERE:
            # Without a secret, the Delta extension asks the machine's metadata service for a role. This secret points to an unused port.
            connection.execute(
                f"create secret {identifier(f'nowhere_{address[:3]}')} (type s3, scope {text(address)}, key_id 'none', secret 'none', "
                "region 'us-east-1', endpoint '127.0.0.1:1', use_ssl false, url_style 'path')"
            )
        _hide_proxy(connection)
    layers = [f"{lake.root}/{layer}/" for layer in ("bronze", "silver", "gold")]
    connection.execute(f"set allowed_directories = {text_list([*layers, f'{folder}/'])}")
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set lock_configuration = true")


def _hide_proxy(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove a proxy's password from the settings, which are readable: httpfs copies ``HTTP_PROXY`` there."""
    (address,) = connection.execute("select current_setting('http_proxy')").fetchone() or ("",)
    proxy = urlsplit(str(address or ""))
    if proxy.username is None and proxy.password is None:
        return
    known = {"http_proxy": f"{proxy.hostname}:{proxy.port or 80}"}
    known |= {"http_proxy_username": unquote(proxy.username or ""), "http_proxy_password": unquote(proxy.password or "")}
    connection.execute(f"create secret proxy (type http, {', '.join(f'{name} {text(value)}' for name, value in known.items())})")
    connection.execute("set global http_proxy = ''")


def _first(rows: pa.RecordBatchReader, count: int) -> tuple[pa.Table, bool]:
    """Return the first ``count`` rows, and whether there are more."""
    batches: list[pa.RecordBatch] = []
    read = 0
    for batch in rows:
        batches.append(batch)
        read += batch.num_rows
        if read > count:
            break
    return pa.Table.from_batches(batches, rows.schema).slice(0, count), read > count


@contextmanager
def query_errors() -> Iterator[None]:
    """Turn DuckDB's errors in the block into errors of ours, with line and position.

    Raises:
        QueryError: DuckDB raised. The text leaves out its advice to enable a setting, because settings are locked here.
    """
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow raises OSError if a stream of DuckDB fails
        text = str(error).strip()
        if "disabled by configuration" in text or "disabled through configuration" in text:
            text = f"{text.splitlines()[0].split(' - ')[0]}: only the tables of the lake can be read here."
        raise QueryError(text) from None
