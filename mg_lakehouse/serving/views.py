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
    "MACROS",
    "MACROS_READ",
    "Shown",
    "attachment",
    "build_catalog",
    "catalog_file",
    "frame",
    "is_always_shown",
    "names_shown",
    "shown_of",
    "shown_tables",
    "snapshot_statements",
    "statements",
    "view",
    "write_catalog",
]

_HIDDEN: Final = "body"
"""The column of bronze that no view shows: a query for a few messages' other columns must not read all of their text."""

_BRONZE: Final = {spec.name: spec for spec in BRONZE_SPECS}

MACROS: Final = ("job", "jobs_since")
"""Macros of the catalogue that read tables."""

MACROS_READ: Final = (DIM_JOBS, JOB_METRICS)
"""The gold tables that they read."""


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
            attached = [attachment(lake, table.layer, table.name) for table in tables if table.handle is not None]
            script.write_text(_script(lake, [*attached, *ddl]), encoding="utf-8")
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
    tables: list[Shown] = []
    for layer, names in names_shown(gold_models(settings)).items():
        opened = dict(gold or {}) if layer == "gold" else {}
        handles = lake.open_written(layer, [name for name in names if name not in opened]) | opened
        tables += shown_of(lake, layer, names, handles)
    return tables


def names_shown(gold_names: Sequence[str]) -> dict[Layer, Sequence[str]]:
    """Return the names of the tables that a catalogue may show, by layer, with these of gold."""
    return {"bronze": BRONZE_TABLES, "silver": (*silver_tables(), SET_ASIDE), "gold": gold_names}


def is_always_shown(layer: Layer, name: str) -> bool:
    """Whether a table is shown, empty, even if it was never written."""
    return layer != "gold" and name != SET_ASIDE


def shown_of(lake: Lake, layer: Layer, names: Sequence[str], handles: Mapping[str, DeltaTable]) -> list[Shown]:
    """Return tables of a layer as the catalogue shows them, by their handles, in order. Some that were never written are left out."""
    return [_shown(lake, layer, name, handles.get(name)) for name in names if name in handles or is_always_shown(layer, name)]


def _shown(lake: Lake, layer: Layer, name: str, handle: DeltaTable | None) -> Shown:
    """Return a table as the catalogue shows it, by its handle. ``None`` stands for a table that was never written, which only bronze and silver show."""
    address = lake.uri_of(layer, name)
    spec = None if layer == "gold" else _BRONZE[name] if layer == "bronze" else silver_spec(name)
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
    yield from frame()
    for table in tables:
        yield from view(table)
    if {table.name for table in tables if table.layer == "gold"}.issuperset(MACROS_READ):
        yield from (query(f"macros/{name}") for name in MACROS)


def frame() -> Iterator[str]:
    """Yield the SQL that creates the schemas, and the macro that reads no table."""
    for layer in ("bronze", "silver", "gold"):
        yield f"create schema if not exists {layer}"
    yield query("macros/safe_rate")


def view(table: Shown) -> Iterator[str]:
    """Yield the SQL that creates a table's view, with comments."""
    name = f"{table.layer}.{identifier(table.name)}"
    yield f"create view {name} as {_query(table)}"
    if table.comment:
        yield f"comment on view {name} is {text(table.comment)}"
    for column, comment in table.columns.items():
        if comment:
            yield f"comment on column {name}.{identifier(column)} is {text(comment)}"


def _query(table: Shown) -> str:
    if table.handle is not None:
        return f"select {', '.join(map(identifier, table.columns))} from delta_scan({text(table.address)})"
    assert table.spec is not None
    return no_rows({name: dtype for name, dtype in table.spec.schema.items() if name in table.columns})


def attachment(lake: Lake, layer: Layer, name: str) -> str:
    """Return the SQL that attaches a table as a database ``<layer>_<table>``, for ``at (version => n)``. Attaching reads nothing yet."""
    return f"attach {text(lake.uri_of(layer, name))} as {identifier(f'{layer}_{name}')} (type delta)"


def snapshot_statements(tables: Sequence[Shown]) -> Iterator[str]:
    """Yield the same views for a DuckDB without the Delta extension: over the current Parquet files, which maintenance removes some days later.

    The day of receipt is in the files' paths and not in the files.
    """
    for layer in ("bronze", "silver", "gold"):
        yield f"create schema if not exists {layer}"
    for table in tables:
        if table.handle is None or not (files := all_files(table.handle)):
            continue
        name = f"{table.layer}.{identifier(table.name)}"
        by_day = "received_date" in table.columns and "/received_date=" in files[0]
        options = ", union_by_name = true" + (", hive_partitioning = true, hive_types = {'received_date': date}" if by_day else "")
        # A column added since may be in none of the files.
        rows = f"({no_rows(columns_of_table(table.handle))} union all by name from read_parquet({file_list(files)}{options}))"
        yield f"create or replace view {name} as select {', '.join(map(identifier, table.columns))} from {rows}"


def _script(lake: Lake, ddl: Sequence[str]) -> str:
    store = "" if lake.is_local else "install httpfs;\nload httpfs;\n-- create secret (type s3, provider credential_chain);\n"
    head = f"-- The lake {visible(lake.root)} for a DuckDB of your own: duckdb -init views.sql\n{store}install delta;\nload delta;\nset timezone = 'UTC';\n"
    return head + "".join(f"{statement};\n" for statement in ddl)
