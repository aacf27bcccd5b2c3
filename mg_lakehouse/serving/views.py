"""``catalog.duckdb``: views over the lake for SQL, with the comments of its tables and columns, and no data.

The file is written next to its place and moved into it, so a reader sees the old one or the new one. Its views are live: a query reads the
newest version of a Delta table. So the catalogue changes only when tables appear, disappear or change their columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
from deltalake import DeltaTable

from mg_lakehouse._util.escaping import visible
from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse.bronze.tables import BRONZE_SPECS, BRONZE_TABLES
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import SET_ASIDE, silver_tables
from mg_lakehouse.gold.contract import DIM_JOBS, JOB_METRICS
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.snapshot import no_rows
from mg_lakehouse.lake.sql import file_list, identifier, text
from mg_lakehouse.lake.tables import TableSpec, columns_of_table
from mg_lakehouse.location import Layer
from mg_lakehouse.serving.catalog_file import catalog_file
from mg_lakehouse.serving.queries import query
from mg_lakehouse.silver.tables import silver_spec

if TYPE_CHECKING:  # pydantic takes 0.2 s, and the process that runs queries does not need it
    from mg_lakehouse.settings import Settings

__all__ = [
    "Shown",
    "attachments",
    "build_catalog",
    "catalog_file",
    "shown_tables",
    "snapshot_statements",
    "statements",
    "tables_of",
    "write_catalog",
]

_HIDDEN: Final = "body"
"""The column of bronze that no view shows: a query for a few messages' other columns must not read all of their text."""

_MACROS_READ: Final = (DIM_JOBS, JOB_METRICS)


@dataclass(frozen=True, slots=True)
class Shown:
    """A table in the catalogue: ``columns`` with their comments, in order. ``handle`` is ``None`` if the table was never written."""

    layer: Layer
    name: str
    address: str
    comment: str
    columns: Mapping[str, str]
    handle: DeltaTable | None
    spec: TableSpec | None = None


def build_catalog(lake: Lake, settings: Settings, path: Path, gold: Mapping[str, DeltaTable] | None = None) -> list[Shown]:
    """Rebuild the catalogue, and ``views.sql`` beside it. Readers that have the old one open keep it. ``gold`` are tables that are open already.

    Raises:
        PermanentError: it cannot be written, or the lake cannot be read.
        TransientError: the lake's store did not answer.
    """
    tables = shown_tables(lake, settings, gold)
    write_catalog(lake, tables, path)
    return tables


def write_catalog(lake: Lake, tables: Sequence[Shown], path: Path) -> None:
    """Write the catalogue of some tables.

    Raises:
        PermanentError: it cannot be written.
    """
    ddl = list(statements(tables))
    _require_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with OwnFolder(path.parent, ".catalog-") as folder:
            draft = folder.path / "catalog.duckdb"
            with connect(lake, str(draft)) as connection:
                # In one transaction: each of a thousand comments waited for the disk, several seconds of a busy one.
                connection.begin()
                for statement in ddl:
                    connection.execute(statement)
                connection.commit()
            draft.replace(path)
            script = folder.path / "views.sql"
            script.write_text(_script(lake, [*attachments(tables), *ddl]), encoding="utf-8")
            script.replace(path.with_name("views.sql"))
    except (OSError, duckdb.IOException) as error:
        raise PermanentError(
            f"The catalogue {path} cannot be written ({type(error).__name__}): choose another place with MG_CATALOG."
        ) from error


def _require_place(path: Path) -> None:
    """Refuse to overwrite a file that is not a catalogue.

    Raises:
        PermanentError: the path has such a file.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return  # there is no file, or writing will raise the error
    if begin and begin[8:] != b"DUCK":
        raise PermanentError(f"The catalogue {path} cannot be written: another file is there. Choose another place with MG_CATALOG.")


def shown_tables(lake: Lake, settings: Settings, gold: Mapping[str, DeltaTable] | None = None) -> list[Shown]:
    """Return the lake's tables: all of bronze and silver, even if never written, and gold's written ones. ``gold`` are tables that are open already.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    return tables_of(lake, gold_models(settings), gold)


def tables_of(lake: Lake, gold_names: Sequence[str], opened: Mapping[str, DeltaTable] | None = None) -> list[Shown]:
    """Return the lake's tables, with only the named gold tables. ``opened`` are gold tables that are open already.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    bronze = {spec.name: spec for spec in BRONZE_SPECS}
    tables = [_shown(lake, "bronze", name, handle, bronze[name]) for name, handle in lake.open_all("bronze", BRONZE_TABLES).items()]
    tables += [_shown(lake, "silver", name, handle, silver_spec(name)) for name, handle in lake.open_all("silver", silver_tables()).items()]
    set_aside = lake.open("silver", SET_ASIDE)
    tables += [] if set_aside is None else [_shown(lake, "silver", SET_ASIDE, set_aside, silver_spec(SET_ASIDE))]
    gold = lake.open_all("gold", [name for name in gold_names if name not in (opened or {})]) | dict(opened or {})
    return [*tables, *(_shown(lake, "gold", name, handle, None) for name in gold_names if (handle := gold[name]) is not None)]


def _shown(lake: Lake, layer: Layer, name: str, handle: DeltaTable | None, spec: TableSpec | None) -> Shown:
    address = lake.uri_of(layer, name)
    if handle is None:
        assert spec is not None
        return Shown(
            layer,
            name,
            address,
            spec.description,
            {column: spec.comments.get(column, "") for column in spec.schema if column != _HIDDEN},
            None,
            spec,
        )
    columns = {field.name: str(field.metadata.get("comment", "")) for field in handle.schema().fields}
    if layer == "bronze":
        columns.pop(_HIDDEN, None)
    return Shown(layer, name, address, handle.metadata().description or "", columns, handle, spec)


def statements(tables: Sequence[Shown]) -> Iterator[str]:
    """Yield the SQL that creates the schemas, views, comments and macros."""
    for layer in ("bronze", "silver", "gold"):
        yield f"create schema if not exists {layer}"
    for table in tables:
        view = f"{table.layer}.{identifier(table.name)}"
        yield f"create view {view} as {_query(table)}"
        if table.comment:
            yield f"comment on view {view} is {text(table.comment)}"
        for column, comment in table.columns.items():
            if comment:
                yield f"comment on column {view}.{identifier(column)} is {text(comment)}"
    yield query("macros/safe_rate")
    if {table.name for table in tables if table.layer == "gold"}.issuperset(_MACROS_READ):
        yield from (query(f"macros/{name}") for name in ("job", "jobs_since"))


def _query(table: Shown) -> str:
    if table.handle is not None:
        return f"select {', '.join(map(identifier, table.columns))} from delta_scan({text(table.address)})"
    assert table.spec is not None
    return no_rows({name: dtype for name, dtype in table.spec.schema.items() if name in table.columns})


def attachments(tables: Sequence[Shown]) -> list[str]:
    """Return the SQL that attaches each table as a database ``<layer>_<table>``, for ``at (version => n)``. Attaching reads nothing yet."""
    return [
        f"attach {text(table.address)} as {identifier(f'{table.layer}_{table.name}')} (type delta)"
        for table in tables
        if table.handle is not None
    ]


def snapshot_statements(tables: Sequence[Shown]) -> Iterator[str]:
    """Yield the same views for a DuckDB without the Delta extension: over the current Parquet files, which maintenance removes some days later.

    The day of receipt is in the files' paths and not in the files.
    """
    for layer in ("bronze", "silver", "gold"):
        yield f"create schema if not exists {layer}"
    for table in tables:
        if table.handle is None or not (files := all_files(table.handle)):
            continue
        view = f"{table.layer}.{identifier(table.name)}"
        by_day = "received_date" in table.columns and "/received_date=" in files[0]
        options = ", union_by_name = true" + (", hive_partitioning = true, hive_types = {'received_date': date}" if by_day else "")
        # A column added since may be in none of the files.
        rows = f"({no_rows(columns_of_table(table.handle))} union all by name from read_parquet({file_list(files)}{options}))"
        yield f"create or replace view {view} as select {', '.join(map(identifier, table.columns))} from {rows}"


def _script(lake: Lake, ddl: Sequence[str]) -> str:
    store = "" if lake.is_local else "install httpfs;\nload httpfs;\n-- create secret (type s3, provider credential_chain);\n"
    head = f"-- The lake {visible(lake.root)} for a DuckDB of your own: duckdb -init views.sql\n{store}install delta;\nload delta;\nset timezone = 'UTC';\n"
    return head + "".join(f"{statement};\n" for statement in ddl)
